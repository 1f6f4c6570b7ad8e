// SPDX-License-Identifier: Apache-2.0
/*
 * The transfer API knows a directory of hosts.toml files, and neither --skip-verify nor certificates
 * (upstream's ctr has these only with --local). So a directory is made that says the same: it works with
 * every daemon that sees our files.
 */
#include "ctr/registry-flags.h"
#include "base/fs.h"
#include "base/toml.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const CliFlag flags_registry[] = {
        {"skip-verify", FLAG_BOOL, "Skip SSL certificate validation", {"k"}, "false"},
        {"plain-http", FLAG_BOOL, "Allow connections using plain HTTP", .value = "false"},
        {"user", FLAG_STRING, "User[:password] Registry user and password", {"u"}},
        {"refresh", FLAG_STRING, "Refresh token for authorization server"},
        {"hosts-dir", FLAG_STRING, "Custom hosts configuration directory"},
        {"tlscacert", FLAG_STRING, "Path to TLS root CA"},
        {"tlscert", FLAG_STRING, "Path to TLS client certificate"},
        {"tlskey", FLAG_STRING, "Path to TLS client key"},
        {"http-dump", FLAG_BOOL, "Dump all HTTP request/responses when interacting with container registry",
         .value = "false"},
        {"http-trace", FLAG_BOOL, "Enable HTTP tracing for registry interactions", .value = "false"},
        {0},
};

/* "user:password", or the password asked for on the terminal. */
static bool credentials(Cli *cli, Registry *r, GError **error)
{
	const char *refresh = cli_string(cli, "refresh"), *user = cli_string(cli, "user");
	bool token = *user == '\0'; // as upstream: a user counts before a token
	if (*user != '\0') {
		const char *colon = strchr(user, ':');
		r->username = colon != NULL ? g_strndup(user, (size_t)(colon - user)) : g_strdup(user);
		r->secret = g_strdup(colon != NULL && colon[1] != '\0' ? colon + 1 : getpass("Password: "));
		if (r->secret == NULL)
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "--user without a password needs a terminal to ask for it");
	} else if (*refresh != '\0') {
		r->secret = g_strdup(refresh);
	} else {
		return true;
	}
	r->auth = side_stream_auth(cli, r->username, r->secret, token, error);
	if (r->auth == NULL)
		return false;
	r->resolver.auth_stream = side_stream_name(r->auth);
	return true;
}

/* ---- flags that become a hosts.toml ---- */

static const char *const tls_flags[] = {"skip-verify", "tlscacert", "tlscert", "tlskey", NULL};

static const char *given_tls_flag(Cli *cli)
{
	for (size_t i = 0; tls_flags[i] != NULL; i++) {
		bool set = i == 0 ? cli_bool(cli, tls_flags[i]) : *cli_string(cli, tls_flags[i]) != '\0';
		if (set)
			return tls_flags[i];
	}
	return NULL;
}

static TomlValue *file_value(Cli *cli, const char *flag, GError **error)
{
	g_autofree char *path = g_canonicalize_filename(cli_string(cli, flag), NULL);
	g_autofree char *data = NULL;
	if (!file_read(path, 4 << 20, &data, NULL, error)) {
		error_prefix(error, "failed to read %s", Q(cli_string(cli, flag)));
		return NULL;
	}
	explicit_bzero(data, strlen(data));
	return toml_new_string(path);
}

static bool add_client(Cli *cli, TomlValue *root, GError **error)
{
	bool cert = *cli_string(cli, "tlscert") != '\0', key = *cli_string(cli, "tlskey") != '\0';
	if (!cert && !key)
		return true;
	if (!cert || !key)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "flags --tlscert and --tlskey must be set together");
	TomlValue *c = file_value(cli, "tlscert", error);
	TomlValue *k = c != NULL ? file_value(cli, "tlskey", error) : NULL;
	if (k == NULL) {
		toml_free(c);
		return false;
	}
	TomlValue *pair = toml_new_array(), *pairs = toml_new_array();
	toml_append(pair, c);
	toml_append(pair, k);
	toml_append(pairs, pair);
	toml_set(root, "client", pairs);
	return true;
}

static bool make_hosts_dir(Cli *cli, Registry *r, GError **error)
{
	const char *flag = given_tls_flag(cli);
	if (flag == NULL)
		return true;
	if (*cli_string(cli, "hosts-dir") != '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "--%s does not go with --hosts-dir: write ca, client or skip_verify into "
		                 "the hosts.toml",
		                 flag);
	g_autoptr(TomlValue) root = toml_new_table();
	if (cli_bool(cli, "skip-verify"))
		toml_set(root, "skip_verify", toml_new_boolean(true));
	if (*cli_string(cli, "tlscacert") != '\0') {
		TomlValue *ca = file_value(cli, "tlscacert", error);
		if (ca == NULL)
			return false;
		toml_set(root, "ca", ca);
	}
	if (!add_client(cli, root, error))
		return false;
	g_autofree char *template = g_build_filename(g_get_tmp_dir(), "ctr-hosts.XXXXXX", NULL);
	if (mkdtemp(template) == NULL)
		return error_set_errno(error, errno, "mkdir %s", template);
	r->hosts_dir = g_steal_pointer(&template);
	g_autofree char *dir = path_join(r->hosts_dir, "_default"), *file = path_join(dir, "hosts.toml");
	g_autoptr(GString) text = g_string_new(NULL);
	toml_write(text, root);
	r->resolver.host_dir = r->hosts_dir;
	return dir_make_all(dir, 0700, error) &&
	       file_write_atomic(file, text->str, text->len, 0600, false, error);
}

/* ---- --http-dump, --http-trace ---- */

static bool open_logs(Cli *cli, Registry *r, GError **error)
{
	bool dump = cli_bool(cli, "http-dump"), trace = cli_bool(cli, "http-trace");
	if (!dump && !trace)
		return true;
	r->logs = side_stream_receive(cli, STDERR_FILENO, error);
	if (r->logs == NULL)
		return false;
	r->resolver.logs_stream = side_stream_name(r->logs);
	r->resolver.http_debug = dump && trace ? CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__BOTH
	                         : dump        ? CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__DEBUG
	                                       : CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__TRACE;
	return true;
}

bool registry_begin(Cli *cli, const char *ref, Registry *r, GError **error)
{
	r->registry =
	        (Containerd__Types__Transfer__OCIRegistry)CONTAINERD__TYPES__TRANSFER__OCIREGISTRY__INIT;
	r->resolver = (Containerd__Types__Transfer__RegistryResolver)
	        CONTAINERD__TYPES__TRANSFER__REGISTRY_RESOLVER__INIT;
	r->registry.reference = ref;
	r->registry.resolver = &r->resolver;
	r->resolver.host_dir = cli_string(cli, "hosts-dir");
	if (cli_bool(cli, "plain-http"))
		r->resolver.default_scheme = "http";
	return make_hosts_dir(cli, r, error) && credentials(cli, r, error) && open_logs(cli, r, error);
}

void registry_end(Registry *r)
{
	side_stream_end(r->logs, r->logs != NULL, NULL);
	side_stream_end(r->auth, false, NULL);
	if (r->hosts_dir != NULL)
		tree_remove(r->hosts_dir, NULL);
	g_free(r->hosts_dir);
	g_free(r->username);
	if (r->secret != NULL)
		explicit_bzero(r->secret, strlen(r->secret));
	g_free(r->secret);
	*r = (Registry){0};
}
