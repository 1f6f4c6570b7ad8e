// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Between cgroup.c, which knows where the files are, and its neighbours. */

#include "base/arena.h"
#include "cgroup/cgroup.h"

#define CG_MOUNT "/sys/fs/cgroup"

typedef enum {
	CG_CPU,
	CG_CPUACCT,
	CG_MEMORY,
	CG_BLKIO,
	CG_PIDS,
	CG_RDMA,
	CG_HUGETLB,
	CG_N,
} CgController;

struct Cgroup {
	bool unified;
	char *dir[CG_N]; // v1: the group's directory, NULL where the controller is not there
	char *path;      // v2: the directory
};

/* Reads a file of the group, at most 64 KiB; "" where it cannot be read (false). In the arena. */
bool cg_read(const char *dir, const char *name, Arena *arena, char **ret);
/* Into a file that is there. */
bool cg_write(const char *dir, const char *name, const char *text, GError **error);
/* One number; "max" gives what is asked for. Missing or garbage: 0 and false. */
bool cg_read_u64(const char *dir, const char *name, uint64_t max, uint64_t *ret);
/* Negative numbers are 0, as Go's library reads them. */
bool cg_parse_u64(const char *s, uint64_t *ret);

/* Lines "key value" into the fields of a struct. */
typedef struct {
	const char *key;
	size_t offset; // of a uint64_t
} CgField;
void cg_parse_fields(char *text, const CgField *fields, size_t n, void *target);

/* Lines "device hca_handle=2 hca_object=max" of rdma.current and rdma.max. */
typedef void (*CgRdmaFn)(const char *device, uint32_t handles, uint32_t objects, void *data);
void cg_parse_rdma(char *text, CgRdmaFn fn, void *data);
/* Names of the page sizes, "2MB", "1GB". GPtrArray of char*. */
GPtrArray *cg_huge_page_sizes(void);

void cgroup1_stat(const Cgroup *cgroup, Arena *arena, uint8_t **ret_data, size_t *ret_len);
bool cgroup2_stat(const Cgroup *cgroup, Arena *arena, uint8_t **ret_data, size_t *ret_len, GError **error);
/* The packed message, in the arena. */
uint8_t *cg_pack(const void *message, Arena *arena, size_t *ret_len);

/* cgroup_enter on version 1, with the directories of the hierarchies (char*). */
bool cg_enter_hierarchies(const GPtrArray *hierarchies, const char *path, GError **error);
