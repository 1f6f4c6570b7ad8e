// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "remote/hosts-toml.h"
#include "remote/registry.h"

#include <stdatomic.h>

struct RegistrySettings {
	atomic_int refs;
	char **dirs;         // NULL or empty: none
	GHashTable *mirrors; // name or "*" -> GStrv of endpoints; NULL: CRI's keys say nothing
	GHashTable *auths;   // host -> Credentials*
	GHashTable *tls;     // host -> HostConfig*, of which ca, pairs and skip_verify count
	char **headers;      // "Name: value", to all registries
};

/* What CRI's `configs` say of a host; NULL: nothing. Borrowed. */
const Credentials *settings_credentials(const RegistrySettings *s, const char *host);
/* Adds what `configs` say of the host's TLS, or of the registry name's, where c says nothing itself. */
void settings_tls(const RegistrySettings *s, const char *name, HostConfig *c);
/* CRI's list of endpoints, as HostConfig*; the last may be without a host: the name's own server. NULL
 * without error: there is none for the name. */
GPtrArray *settings_endpoints(const RegistrySettings *s, const char *name, GError **error);
