// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The in-flight table: what this program is doing for whom, since when, and what that waits for. One entry
 * for each call of a client and each job of our own; `ctr debug inflight` and SIGUSR1 show it.
 *
 * A thread works for at most one entry at a time; what it says with inflight_stage and inflight_child goes
 * there, and nowhere where it works for none. Thread-safe; nothing here waits.
 */

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

enum { INFLIGHT_TEXT = 96 };

typedef struct Inflight Inflight;
struct Inflight {
	Inflight *next, *prev;
	const char *what, *ns; // as given; ns may be NULL
	char object[INFLIGHT_TEXT], stage[INFLIGHT_TEXT];
	int64_t began, stage_began; // time_mono
	pid_t child;                // 0: none
};

/* From now on in the table; the strings live as long as it is there. */
void inflight_begin(Inflight *f, const char *what, const char *ns);
/* Can be repeated. */
void inflight_end(Inflight *f);

/* This thread works for f (NULL: for none). Returns whom it worked for before. */
Inflight *inflight_enter(Inflight *f);

/* What the entry is about ("" where unknown), such as the id of a container. Longer texts are cut. */
void inflight_object(Inflight *f, const char *object);
void inflight_stage(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The process whose end is awaited now; 0: it has come. */
void inflight_child(pid_t pid);

/* Copies, oldest first; what and ns are copied as well. Free with g_ptr_array_unref. */
typedef struct {
	char *what, *ns;
	char object[INFLIGHT_TEXT], stage[INFLIGHT_TEXT];
	int64_t age_ns, stage_age_ns;
	pid_t child;
} InflightRow;
GPtrArray *inflight_rows(void); // of InflightRow*

/* [{"method":..., "namespace":..., "object":..., "age_ms":..., "stage":..., "stage_age_ms":..., "child":...}]
 */
char *inflight_json(void);
/* Each on a line of the log, at info. */
void inflight_log(void);
