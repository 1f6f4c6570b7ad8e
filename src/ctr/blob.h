// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A blob on its way into the daemon's content store, as one ingest: begin, write, commit (upstream
 * core/content/proxy, content.WriteBlob). What an earlier try left under the ref is written over. One thread.
 */

#include "ctr/ctr.h"

typedef struct CtrBlob CtrBlob;
/* total 0 and expected "": not known. */
CtrBlob *ctr_blob_new(Cli *cli, const char *ref, int64_t total, const char *expected, GError **error);
bool ctr_blob_write(CtrBlob *b, const void *data, size_t len, GError **error);
/* labels may be NULL. ALREADY_EXISTS where the store has it already: digest and size are told all the same.
 */
bool ctr_blob_commit(CtrBlob *b, GHashTable *labels, GError **error);
char *ctr_blob_digest(CtrBlob *b); // of what was written so far. Owned by the caller
int64_t ctr_blob_size(const CtrBlob *b);
/* Without a commit the ingest stays and can be written over. */
void ctr_blob_free(CtrBlob *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtrBlob, ctr_blob_free)

/* All in one; an existing blob gets the labels, too. */
bool ctr_blob_put(Cli *cli, const char *ref, const void *data, size_t len, GHashTable *labels,
                  char **ret_digest, GError **error);
/* Sets labels (an empty value clears one) and leaves the others. */
bool ctr_blob_label(Cli *cli, const char *digest, GHashTable *labels, GError **error);
/* A strmap. */
GHashTable *ctr_blob_labels(Cli *cli, const char *digest, GError **error);
