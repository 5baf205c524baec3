/* SPDX-License-Identifier: MIT */
/* The parts of the VMM of tests. */
#ifndef VMM_H
#define VMM_H

#include "agent.h"
#include "libpasid.h"

#include <stddef.h>
#include <stdint.h>

struct pasid_client *vmm_session(void);
/* This process's iommufd, or the one that it was told to use. */
int vmm_iommufd(void);

/* Answers "ok", a number or the refusal, for a result of libpasid. */
void vmm_report(int r);
void vmm_report_number(int r, uint64_t number);

/* "5" is a host PASID, "g5" a guest PASID. */
struct pasid_number vmm_pasid(const char *word);
/* pasidd's number of a device, or another number of 64 bits. */
uint64_t vmm_device_id(const char *word);
/* Numbers of devices in the words from `first` on; says how many. */
size_t vmm_devices(char **words, size_t first, uint64_t *devices);

void vmm_bind(char **words);
void vmm_unbind(char **words);
void vmm_replace(char **words);
void vmm_attach_rid(char **words);
void vmm_detach_rid(char **words);
void vmm_standing(char **words);
void vmm_objects(char **words);

/* A guest's own stream table entries. */
extern const struct agent_command stream_commands[];

#endif
