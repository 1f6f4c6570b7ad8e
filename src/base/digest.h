// SPDX-License-Identifier: Apache-2.0
#pragma once

/* OCI digests `algorithm:hex` (image-spec descriptor.md; go-digest). sha256, sha384 and sha512. Thread-safe.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SHA256_HEX 64

/* Checks form and length as go-digest's Validate. Error texts: `invalid checksum digest format`,
 * `unsupported digest algorithm`, `invalid checksum digest length`, class INVALID_ARGUMENT. */
bool digest_validate(const char *digest, GError **error);
/* "sha256" of "sha256:..."; the digest must be valid. Owned by the caller. */
char *digest_algorithm(const char *digest);
/* The hex part; points into digest. */
const char *digest_hex(const char *digest);

/* A running hash. One thread at a time. */
typedef struct Digester Digester;
Digester *digester_new(const char *algorithm); // "sha256", "sha384", "sha512"; NULL: not supported
void digester_update(Digester *d, const void *data, size_t len);
/* The digest of what was given so far; more may follow. Owned by the caller. */
char *digester_digest(Digester *d);
Digester *digester_copy(Digester *d);
void digester_free(Digester *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Digester, digester_free)

char *digest_bytes(const void *data, size_t len); // sha256 of a buffer, "sha256:..."
/* sha256 of all the content of fd from its start; the offset moves. */
char *digest_fd(int fd, GError **error);
