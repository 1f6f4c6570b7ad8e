// SPDX-License-Identifier: Apache-2.0
#pragma once

/* WWW-Authenticate headers (upstream core/remotes/docker/auth/parse.go). Pure functions on hostile input. */

#include <glib.h>

/* In order of preference, best first, as upstream sorts them. */
typedef enum {
	CHALLENGE_BEARER,
	CHALLENGE_DIGEST,
	CHALLENGE_BASIC,
} ChallengeScheme;

typedef struct {
	ChallengeScheme scheme;
	GHashTable *params; // strmap; names in lower case, the last of equal names counts
} Challenge;
void challenge_free(Challenge *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Challenge, challenge_free)

/* One header's value; NULL where the scheme is none of ours. What cannot be parsed ends the parameters. */
Challenge *challenge_parse(const char *header);
/* Of all header values (GPtrArray of char*), the best first; GPtrArray of Challenge*. */
GPtrArray *challenges_parse(GPtrArray *headers);
