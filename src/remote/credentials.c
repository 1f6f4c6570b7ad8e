// SPDX-License-Identifier: Apache-2.0
#include "remote/credentials.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/time.h"
#include "base/util.h"
#include <string.h>
#include <sys/wait.h>

#define HELPER_PREFIX "docker-credential-"
#define HELPER_TIMEOUT (10 * NS_PER_SEC)
#define HELPER_OUTPUT_MAX ((size_t)64 * 1024)
#define HELPER_NAME_MAX 64
#define CONFIG_FILE_MAX ((size_t)1024 * 1024)
#define ERROR_TEXT_MAX 400
/* How helpers say that they have nothing (credentials.NewErrCredentialsNotFound). */
#define NOT_FOUND "credentials not found in native keychain"
/* Under which name Docker keeps what belongs to its own registry. */
#define DOCKER_SERVER "https://index.docker.io/v1/"

static void wipe(char **s)
{
	if (*s != NULL)
		explicit_bzero(*s, strlen(*s));
	g_clear_pointer(s, g_free);
}

void credentials_clear(Credentials *c)
{
	g_free(c->username);
	g_free(c->source);
	wipe(&c->secret);
	wipe(&c->header);
	*c = (Credentials){0};
}

bool credentials_empty(const Credentials *c)
{
	return str_empty(c->username) && str_empty(c->secret) && str_empty(c->header);
}

void credential_sources_free(CredentialSources *s)
{
	if (s == NULL)
		return;
	g_free(s->helper);
	g_free(s->file);
	credentials_clear(&s->fixed);
	g_free(s);
}

bool credential_sources_empty(const CredentialSources *s)
{
	return s == NULL ||
	       (s->client == NULL && s->helper == NULL && s->file == NULL && credentials_empty(&s->fixed));
}

static bool is_docker_hub(const char *host)
{
	return g_str_equal(host, "docker.io") || g_str_equal(host, "index.docker.io") ||
	       g_str_equal(host, "registry-1.docker.io");
}

/* ---- base64 ---- */

bool credentials_decode_basic(const char *base64, Credentials *ret, GError **error)
{
	/* g_base64_decode passes over what is no base64 */
	size_t len = strlen(base64), n = strspn(base64, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                                                "0123456789+/");
	n += strspn(base64 + n, "=");
	if (n != len || len % 4 != 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "\"auth\" is not base64");
	gsize size = 0;
	g_autofree char *text = NULL;
	guchar *decoded = g_base64_decode(base64, &size);
	text = g_strndup((char *)decoded, size); // ends at a NUL, of which upstream trims those at the end
	explicit_bzero(decoded, size);
	g_free(decoded);
	char *colon = strchr(text, ':');
	bool ok = colon != NULL;
	if (ok) {
		ret->username = g_strndup(text, (size_t)(colon - text));
		ret->secret = g_strdup(colon + 1);
	}
	explicit_bzero(text, strlen(text));
	return ok ||
	       error_set(error, CTRD_ERR_INVALID_ARGUMENT, "\"auth\" is not the base64 of \"user:password\"");
}

/* ---- helpers ---- */

bool credential_helper_name_valid(const char *name)
{
	size_t len = strlen(name);
	if (len == 0 || len > HELPER_NAME_MAX || *name == '-' || *name == '.')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!g_ascii_isalnum(*c) && strchr("-_.", *c) == NULL)
			return false;
	return true;
}

static bool set_token_or_pair(Credentials *ret, const char *username, const char *secret)
{
	/* this name says that the secret is an identity token, to be exchanged at the token server */
	if (username != NULL && !g_str_equal(username, "<token>") && *username != '\0')
		ret->username = g_strdup(username);
	ret->secret = g_strdup(secret);
	return true;
}

bool credential_helper_parse(const char *out, size_t len, Credentials *ret, GError **error)
{
	g_autoptr(JsonObject) o = json_parse(out, len, HELPER_OUTPUT_MAX, error);
	if (o == NULL)
		return false;
	const char *username = json_get_string(o, "Username"), *secret = json_get_string(o, "Secret");
	if (username == NULL || secret == NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "the answer has no strings \"Username\" and \"Secret\"");
	if (*secret == '\0')
		return true;
	return set_token_or_pair(ret, username, secret);
}

/* One line of what a program wrote, for an error text. */
static void append_text(GString *out, const char *text)
{
	g_autofree char *copy = g_utf8_make_valid(text, -1);
	g_strstrip(copy);
	for (char *c = copy; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	if (*copy == '\0')
		return;
	g_string_append(out, ": ");
	g_string_append_len(out, copy, (gssize)MIN(strlen(copy), (size_t)ERROR_TEXT_MAX));
}

static bool run_helper(const char *name, const char *host, int64_t timeout, Credentials *ret, GError **error)
{
	g_autofree char *program = g_strconcat(HELPER_PREFIX, name, NULL);
	const char *server = is_docker_hub(host) ? DOCKER_SERVER : host;
	g_autoptr(GBytes) input = g_bytes_new(server, strlen(server));
	const char *const argv[] = {program, "get", NULL};
	const ProcessSpec spec = {
	        .argv = argv,
	        .stdin_data = input,
	        .timeout_ns = timeout != 0 ? timeout : HELPER_TIMEOUT,
	        .max_output = HELPER_OUTPUT_MAX,
	};
	g_auto(ProcessResult) result = {0};
	bool ok = process_run(&spec, &result, error);
	if (ok && (!WIFEXITED(result.status) || WEXITSTATUS(result.status) != 0)) {
		if (strstr(result.out, NOT_FOUND) != NULL || strstr(result.err, NOT_FOUND) != NULL)
			return true;
		g_autofree char *status = process_status_text(result.status);
		g_autoptr(GString) text = g_string_new(status);
		append_text(text, result.err);
		append_text(text, result.out); // helpers of Docker's library write their errors there
		ok = error_set(error, CTRD_ERR_UNKNOWN, "%s", text->str);
	} else if (ok) {
		ok = credential_helper_parse(result.out, result.out_len, ret, error);
		explicit_bzero(result.out, result.out_len);
	}
	if (!ok)
		return error_prefix(error, "credential helper %s for %s", Q(program), Q(host));
	ret->source = credentials_empty(ret) ? NULL : g_steal_pointer(&program);
	return true;
}

/* ---- config.json ---- */

/* Is this key of "auths" or "credHelpers" for the host? */
static bool key_matches(const char *key, const char *host)
{
	if (is_docker_hub(host) && g_str_equal(key, DOCKER_SERVER))
		return true;
	const char *scheme = strstr(key, "://"), *rest = scheme != NULL ? scheme + 3 : key;
	size_t len = strcspn(rest, "/");
	/* host/namespace, as podman has it, is for that namespace only */
	if (scheme == NULL && rest[len] != '\0' && !g_str_equal(rest + len, "/") &&
	    !g_str_has_prefix(rest + len, "/v1") && !g_str_has_prefix(rest + len, "/v2"))
		return false;
	g_autofree char *name = g_strndup(rest, len);
	return g_ascii_strcasecmp(name, host) == 0 || (is_docker_hub(name) && is_docker_hub(host));
}

/* The member that is for the host, an exact key before others. */
static JsonObject *find_host(JsonObject *table, const char *host)
{
	if (table == NULL)
		return NULL;
	JsonObject *found = json_get(table, host);
	if (found != NULL)
		return found;
	json_object_object_foreach(table, key, value)
	{
		if (key_matches(key, host))
			return value;
	}
	return NULL;
}

static bool parse_auth(JsonObject *entry, Credentials *ret, GError **error)
{
	const char *token = json_get_string(entry, "identitytoken"),
	           *registry_token = json_get_string(entry, "registrytoken"),
	           *auth = json_get_string(entry, "auth"), *username = json_get_string(entry, "username"),
	           *password = json_get_string(entry, "password");
	if (!str_empty(token))
		return set_token_or_pair(ret, NULL, token);
	if (!str_empty(registry_token)) {
		if (strpbrk(registry_token, "\r\n") != NULL)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "\"registrytoken\" with a line break");
		ret->header = g_strconcat("Bearer ", registry_token, NULL);
		return true;
	}
	if (!str_empty(auth))
		return credentials_decode_basic(auth, ret, error);
	if (!str_empty(username) && !str_empty(password))
		return set_token_or_pair(ret, username, password);
	return true;
}

bool docker_config_parse(const char *data, size_t len, const char *host, char **ret_helper, Credentials *ret,
                         GError **error)
{
	*ret_helper = NULL;
	g_autoptr(JsonObject) o = json_parse(data, len, CONFIG_FILE_MAX, error);
	if (o == NULL)
		return false;
	JsonObject *helper = find_host(json_get_object(o, "credHelpers"), host);
	const char *name = helper != NULL && json_object_is_type(helper, json_type_string)
	                           ? json_object_get_string(helper)
	                           : json_get_string(o, "credsStore");
	if (!str_empty(name)) {
		if (!credential_helper_name_valid(name))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "%s is not the name of a credential helper", Q(name));
		*ret_helper = g_strdup(name);
	}
	JsonObject *entry = find_host(json_get_object(o, "auths"), host);
	if (entry == NULL || !json_object_is_type(entry, json_type_object))
		return true;
	if (parse_auth(entry, ret, error))
		return true;
	g_clear_pointer(ret_helper, g_free);
	return error_prefix(error, "auths of %s", Q(host));
}

static bool read_file(const char *file, const char *host, int64_t timeout, Credentials *ret, GError **error)
{
	g_autofree char *data = NULL, *helper = NULL;
	size_t len = 0;
	g_auto(Credentials) own = {0};
	if (!file_read(file, CONFIG_FILE_MAX, &data, &len, error))
		return error_prefix(error, "credential file");
	bool ok = docker_config_parse(data, len, host, &helper, &own, error);
	explicit_bzero(data, len);
	if (!ok)
		return error_prefix(error, "credential file %s", Q(file));
	if (helper != NULL && !run_helper(helper, host, timeout, ret, error))
		return error_prefix(error, "credential file %s", Q(file));
	if (!credentials_empty(ret) || credentials_empty(&own))
		return true;
	*ret = own;
	own = (Credentials){0};
	ret->source = g_strdup(file);
	return true;
}

/* ---- all of them ---- */

bool credentials_find(const CredentialSources *s, const char *host, Cancel *cancel, Credentials *ret,
                      GError **error)
{
	if (s == NULL)
		return true;
	if (s->client != NULL) {
		if (!s->client(host, cancel, ret, s->client_data, error))
			return false;
		if (!credentials_empty(ret)) {
			if (ret->source == NULL)
				ret->source = g_strdup("the client");
			return true;
		}
		credentials_clear(ret);
	}
	if (s->helper != NULL && !run_helper(s->helper, host, s->helper_timeout_ns, ret, error))
		return false;
	if (credentials_empty(ret) && s->file != NULL &&
	    !read_file(s->file, host, s->helper_timeout_ns, ret, error))
		return false;
	if (!credentials_empty(ret) || credentials_empty(&s->fixed))
		return true;
	*ret = (Credentials){
	        .username = g_strdup(s->fixed.username),
	        .secret = g_strdup(s->fixed.secret),
	        .header = g_strdup(s->fixed.header),
	        .source = g_strdup(s->fixed.source),
	};
	return true;
}
