// SPDX-License-Identifier: Apache-2.0
#include "ctr/remote.h"
#include <string.h>
#include <unistd.h>

static bool credentials(const char *host, Cancel *cancel, Credentials *ret, void *data, GError **error)
{
	const CtrRegistry *r = data;
	ret->username = g_strdup(r->username);
	ret->secret = g_strdup(r->secret);
	return true;
}

/* --user and --refresh, as pull takes them. */
static void read_user(Cli *cli, CtrRegistry *r)
{
	const char *refresh = cli_string(cli, "refresh"), *user = cli_string(cli, "user");
	if (*refresh != '\0') {
		r->username = g_strdup("");
		r->secret = g_strdup(refresh);
	} else if (*user != '\0') {
		g_auto(GStrv) parts = g_strsplit(user, ":", 2);
		r->username = g_strdup(parts[0]);
		r->secret = g_strdup(parts[1] != NULL ? parts[1] : getpass("Password: "));
	}
}

static bool read_tls(Cli *cli, CtrRegistry *r, GError **error)
{
	const char *ca = cli_string(cli, "tlscacert"), *cert = cli_string(cli, "tlscert"),
	           *key = cli_string(cli, "tlskey");
	const char *ca_files[] = {*ca != '\0' ? ca : NULL, NULL};
	bool skip = cli_bool(cli, "skip-verify");
	if (*ca == '\0' && *cert == '\0' && *key == '\0' && !skip)
		return true;
	const HttpTlsPair pair = {cert, *key != '\0' ? key : NULL};
	r->tls = http_tls_new(ca_files, &pair, *cert != '\0', skip, error);
	return r->tls != NULL;
}

bool ctr_registry_open(Cli *cli, const char *ref, CtrRegistry *ret, GError **error)
{
	ret->http = http_client_new(NULL, error);
	if (ret->http == NULL || !read_tls(cli, ret, error))
		return false;
	read_user(cli, ret);
	ret->settings = registry_settings_new(cli_string(cli, "hosts-dir"));
	ret->options = (RegistryOptions){
	        .settings = ret->settings,
	        .http = ret->http,
	        .credentials = ret->secret != NULL ? credentials : NULL,
	        .credentials_data = ret,
	        .default_scheme = cli_bool(cli, "plain-http") ? "http" : NULL,
	        .tls = ret->tls,
	};
	ResolverOptions options = {
	        .http = ret->http,
	        .hosts = registry_hosts,
	        .hosts_data = &ret->options,
	};
	ret->resolver = resolver_new(&options, ref, error);
	return ret->resolver != NULL;
}

void ctr_registry_clear(CtrRegistry *r)
{
	g_clear_pointer(&r->resolver, resolver_free);
	g_clear_pointer(&r->http, http_client_free);
	g_clear_pointer(&r->tls, http_tls_unref);
	g_clear_pointer(&r->settings, registry_settings_unref);
	g_clear_pointer(&r->username, g_free);
	g_clear_pointer(&r->secret, g_free);
}
