/* SPDX-License-Identifier: MIT */
/* Gives a library a source while its layer has none. */
typedef int pasidd_empty;
