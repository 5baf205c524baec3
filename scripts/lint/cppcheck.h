/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else when cppcheck reads a file: it reads no system headers, and
 * cannot parse a file in which an unknown macro stands for a loop or a member.
 */
#define json_array_foreach(array, i, value) for (i = 0; (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value)                                                    \
	for (key = json_first(object); (value = json_value(key)); key = json_next(key))

#define LIST_HEAD(name, type)                                                                      \
	struct name {                                                                              \
		struct type *lh_first;                                                             \
	}
#define LIST_ENTRY(type)                                                                           \
	struct {                                                                                   \
		struct type *le_next;                                                              \
		struct type **le_prev;                                                             \
	}
#define TAILQ_HEAD(name, type)                                                                     \
	struct name {                                                                              \
		struct type *tqh_first;                                                            \
		struct type **tqh_last;                                                            \
	}
#define TAILQ_ENTRY(type)                                                                          \
	struct {                                                                                   \
		struct type *tqe_next;                                                             \
		struct type **tqe_prev;                                                            \
	}
#define LIST_FOREACH(at, head, field)  for (at = (head)->lh_first; at; at = at->field.le_next)
#define TAILQ_FOREACH(at, head, field) for (at = (head)->tqh_first; at; at = at->field.tqe_next)
