// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The two kinds of image references upstream has. Errors are of class UNKNOWN, as upstream's are; the texts
 * are its texts. Plain data, no state.
 */

#include <glib.h>
#include <stdbool.h>

/*
 * pkg/reference: `host/path[:tag][@digest]`, nothing is defaulted. What resolvers and the transfer service
 * take. Texts: `invalid reference`, `hostname required`, and those of Go's url.Parse.
 */
typedef struct {
	char *locator; // "docker.io/library/alpine"
	char *object;  // "latest", "latest@sha256:...", "@sha256:...", "" (never NULL once parsed)
} RefSpec;
bool ref_spec_parse(const char *s, RefSpec *ret, GError **error);
void ref_spec_clear(RefSpec *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RefSpec, ref_spec_clear)
char *ref_spec_hostname(const RefSpec *r);     // "docker.io". Owned by the caller
const char *ref_spec_path(const RefSpec *r);   // "library/alpine", "" where there is none. Points into r
const char *ref_spec_digest(const RefSpec *r); // "sha256:...", "" where there is none. Points into r
char *ref_spec_tag(const RefSpec *r);          // "latest", "" where there is none. Owned by the caller
char *ref_spec_format(const RefSpec *r);       // the whole again. Owned by the caller

/*
 * distribution/reference: Docker's names, `alpine` for `docker.io/library/alpine:latest`. What CRI and
 * `ctr images import` take.
 */
typedef struct {
	char *domain, *path; // NULL and NULL only for a bare digest (docker_ref_parse_any)
	char *tag, *digest;  // NULL: none
} DockerRef;
void docker_ref_clear(DockerRef *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DockerRef, docker_ref_clear)
/* ParseNormalizedNamed: domain and "library/" are filled in. Texts: `invalid reference format`, `invalid
 * reference format: repository name (X) must be lowercase`, `repository name must not be more than 255
 * characters`, `invalid repository name (x), cannot specify 64-byte hexadecimal strings`... */
bool docker_ref_parse_normalized(const char *s, DockerRef *ret, GError **error);
/* ParseDockerRef: the tag is filled in with "latest" where there is no digest, and dropped where there is. */
bool docker_ref_parse(const char *s, DockerRef *ret, GError **error);
/* ParseAnyReference: also 64 hex digits and digests. */
bool docker_ref_parse_any(const char *s, DockerRef *ret, GError **error);
/* Fills in the tag "latest" where there is neither tag nor digest. */
void docker_ref_tag_name_only(DockerRef *r);
char *docker_ref_name(const DockerRef *r);            // "docker.io/library/alpine"
char *docker_ref_format(const DockerRef *r);          // the whole
char *docker_ref_familiar_name(const DockerRef *r);   // "alpine"
char *docker_ref_familiar_format(const DockerRef *r); // "alpine:latest"
