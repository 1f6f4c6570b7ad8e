// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What every content store must do: the cases of upstream's core/content/testsuite/testsuite.go, by their
 * names, as GLib tests. For test programs of the implementations.
 */

#include "store/content.h"

typedef struct {
	const char *name; // tests are /content/<name>/<case>
	/* A new store in an empty directory; *ret_state is for the others. */
	ContentStore *(*open)(const char *dir, void **ret_state);
	/* The next namespace to work in (strings stay until close); shareable: labelled as such. NULL: the
	 * store knows no namespaces. */
	Ctx (*next_ctx)(void *state, bool shareable);
	void (*close)(ContentStore *store, void *state);
	bool has_labels;
} ContentSuite;

/* The suite must stay. */
void content_suite_add(const ContentSuite *suite);
/* Over a store with the policy "shared"; with "isolated"; with "isolated", of shareable namespaces. */
void content_suite_add_cross_ns_shared(const ContentSuite *suite);
void content_suite_add_cross_ns_isolated(const ContentSuite *suite);
void content_suite_add_shared_ns_isolated(const ContentSuite *suite);

/* Pseudo-random bytes, others at each call. The digest is the caller's. */
void *content_suite_bytes(size_t len, char **ret_digest);
