// SPDX-License-Identifier: Apache-2.0
/* The grammar of distribution/reference, read by hand: every rule looks at most one character ahead. */
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include "oci/reference.h"
#include <string.h>

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN "index.docker.io"
#define OFFICIAL_PREFIX "library/"
#define DEFAULT_TAG "latest"
#define PATH_MAX_CHARS 255
#define TAG_MAX 128
#define DIGEST_HEX_MIN 32

void docker_ref_clear(DockerRef *r)
{
	g_free(r->domain);
	g_free(r->path);
	g_free(r->tag);
	g_free(r->digest);
	*r = (DockerRef){0};
}

static bool is_lower_alnum(char c)
{
	return g_ascii_islower(c) || g_ascii_isdigit(c);
}

/* Components of [a-z0-9]+ joined by ".", "_", "__" or dashes, themselves joined by "/". */
static bool is_path(const char *s, size_t len)
{
	size_t i = 0;
	for (;;) {
		size_t start = i;
		while (i < len && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == len)
			return true;
		if (s[i] == '-') {
			while (i < len && s[i] == '-')
				i++;
		} else if (s[i] == '_') {
			i += i + 1 < len && s[i + 1] == '_' ? 2 : 1;
		} else if (s[i] == '.' || s[i] == '/') {
			i++;
		} else {
			return false;
		}
	}
}

/* Dot-separated labels of letters, digits and inner dashes. */
static bool is_domain_name(const char *s, size_t len)
{
	for (size_t i = 0, start = 0; i <= len; i++) {
		if (i < len && s[i] != '.') {
			if (!g_ascii_isalnum(s[i]) && s[i] != '-')
				return false;
			continue;
		}
		if (i == start || s[start] == '-' || s[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return true;
}

/* A domain name or an IPv6 address in brackets, then perhaps a port. */
static bool is_domain(const char *s, size_t len)
{
	size_t host = 0;
	if (len > 0 && s[0] == '[') {
		host = 1;
		while (host < len && (g_ascii_isxdigit(s[host]) || s[host] == ':'))
			host++;
		if (host == 1 || host == len || s[host] != ']')
			return false;
		host++;
	} else {
		while (host < len && s[host] != ':')
			host++;
		if (!is_domain_name(s, host))
			return false;
	}
	if (host == len)
		return true;
	if (s[host] != ':' || host + 1 == len)
		return false;
	for (size_t i = host + 1; i < len; i++)
		if (!g_ascii_isdigit(s[i]))
			return false;
	return true;
}

static bool is_tag(const char *s)
{
	size_t len = strlen(s);
	if (len == 0 || len > TAG_MAX || *s == '.' || *s == '-')
		return false;
	for (; *s != '\0'; s++)
		if (!g_ascii_isalnum(*s) && strchr("_.-", *s) == NULL)
			return false;
	return true;
}

/* `algorithm[-_+.algorithm...]:hex`, at least 32 digits; what the algorithm is comes later. */
static bool is_digest(const char *s)
{
	bool start = true;
	for (; *s != ':'; s++) {
		if (start ? !g_ascii_isalpha(*s)
		          : !g_ascii_isalnum(*s) && (*s == '\0' || strchr("-_+.", *s) == NULL))
			return false;
		start = !start && !g_ascii_isalnum(*s);
	}
	if (start)
		return false;
	size_t digits = 0;
	for (s++; g_ascii_isxdigit(*s); s++)
		digits++;
	return *s == '\0' && digits >= DIGEST_HEX_MIN;
}

/* Takes a reference apart. false: it is none. */
static bool split(const char *s, DockerRef *ret)
{
	const char *at = strchr(s, '@');
	if (at != NULL && !is_digest(at + 1))
		return false;
	g_autofree char *name = at != NULL ? g_strndup(s, (gsize)(at - s)) : g_strdup(s);
	char *last = strrchr(name, '/');
	char *colon = strchr(last != NULL ? last : name, ':');
	if (colon != NULL) {
		if (!is_tag(colon + 1))
			return false;
		*colon = '\0';
	}
	size_t len = strlen(name), first = strcspn(name, "/");
	const char *path = name;
	if (first < len && is_domain(name, first) && is_path(name + first + 1, len - first - 1))
		path = name + first + 1;
	else if (!is_path(name, len))
		return false;
	*ret = (DockerRef){
	        .domain = g_strndup(name, path > name ? first : 0),
	        .path = g_strdup(path),
	        .tag = g_strdup(colon != NULL ? colon + 1 : NULL),
	        .digest = g_strdup(at != NULL ? at + 1 : NULL),
	};
	return true;
}

static bool parse(const char *s, DockerRef *ret, GError **error)
{
	g_auto(DockerRef) r = {0};
	if (!split(s, &r)) {
		g_autofree char *lower = g_ascii_strdown(s, -1);
		if (*s == '\0')
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "repository name must have at least one component");
		if (split(lower, &r))
			return error_set(error, CTRD_ERR_UNKNOWN, "repository name must be lowercase");
		return error_set(error, CTRD_ERR_UNKNOWN, "invalid reference format");
	}
	if (strlen(r.path) > PATH_MAX_CHARS)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "repository name must not be more than %d characters", PATH_MAX_CHARS);
	if (r.digest != NULL && !digest_validate(r.digest, error)) {
		error_reclass(error, CTRD_ERR_UNKNOWN);
		return false;
	}
	*ret = r;
	r = (DockerRef){0};
	return true;
}

static bool has_upper(const char *s)
{
	for (; *s != '\0'; s++) {
		gunichar c = g_utf8_get_char_validated(s, -1);
		if (c != (gunichar)-1 && c != (gunichar)-2 && g_unichar_tolower(c) != c)
			return true;
	}
	return false;
}

/* What stands before the first slash is a domain where it looks like one. The domain is static or s's. */
static char *fill_in_domain(const char *s)
{
	size_t first = strcspn(s, "/");
	g_autofree char *head = g_strndup(s, first);
	const char *domain = DEFAULT_DOMAIN, *rest = s;
	if (s[first] == '/') {
		const char *tail = s + first + 1;
		if (strcmp(head, LEGACY_DOMAIN) == 0) {
			rest = tail;
		} else if (strcmp(head, "localhost") == 0 || strpbrk(head, ".:") != NULL || has_upper(head)) {
			domain = head;
			rest = tail;
		}
	}
	bool official = strcmp(domain, DEFAULT_DOMAIN) == 0 && strchr(rest, '/') == NULL;
	return g_strconcat(domain, "/", official ? OFFICIAL_PREFIX : "", rest, NULL);
}

static bool is_bare_id(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

bool docker_ref_parse_normalized(const char *s, DockerRef *ret, GError **error)
{
	if (is_bare_id(s))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "invalid repository name (%s), cannot specify 64-byte hexadecimal strings",
		                 s);
	g_autofree char *full = fill_in_domain(s);
	const char *remainder = full + strcspn(full, "/") + 1;
	g_autofree char *remote = g_strndup(remainder, strcspn(remainder, ":"));
	if (has_upper(remote))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "invalid reference format: repository name (%s) must be lowercase", remote);
	return parse(full, ret, error);
}

void docker_ref_tag_name_only(DockerRef *r)
{
	if (r->tag == NULL && r->digest == NULL)
		r->tag = g_strdup(DEFAULT_TAG);
}

bool docker_ref_parse(const char *s, DockerRef *ret, GError **error)
{
	if (!docker_ref_parse_normalized(s, ret, error))
		return false;
	if (ret->digest != NULL)
		g_clear_pointer(&ret->tag, g_free);
	docker_ref_tag_name_only(ret);
	return true;
}

bool docker_ref_parse_any(const char *s, DockerRef *ret, GError **error)
{
	if (is_bare_id(s)) {
		*ret = (DockerRef){.digest = g_strconcat("sha256:", s, NULL)};
		return true;
	}
	if (digest_validate(s, NULL)) {
		*ret = (DockerRef){.digest = g_strdup(s)};
		return true;
	}
	return docker_ref_parse_normalized(s, ret, error);
}

char *docker_ref_name(const DockerRef *r)
{
	if (r->path == NULL)
		return g_strdup("");
	return *r->domain == '\0' ? g_strdup(r->path) : g_strconcat(r->domain, "/", r->path, NULL);
}

static char *with_tag_and_digest(const DockerRef *r, const char *name)
{
	if (r->path == NULL)
		return g_strdup(r->digest);
	return g_strconcat(name, r->tag != NULL ? ":" : "", str_or(r->tag, ""), r->digest != NULL ? "@" : "",
	                   str_or(r->digest, ""), NULL);
}

char *docker_ref_format(const DockerRef *r)
{
	g_autofree char *name = docker_ref_name(r);
	return with_tag_and_digest(r, name);
}

char *docker_ref_familiar_name(const DockerRef *r)
{
	if (r->path == NULL || strcmp(r->domain, DEFAULT_DOMAIN) != 0)
		return docker_ref_name(r);
	const char *path = r->path;
	if (g_str_has_prefix(path, OFFICIAL_PREFIX) && strchr(path + strlen(OFFICIAL_PREFIX), '/') == NULL)
		path += strlen(OFFICIAL_PREFIX);
	return g_strdup(path);
}

char *docker_ref_familiar_format(const DockerRef *r)
{
	g_autofree char *name = docker_ref_familiar_name(r);
	return with_tag_and_digest(r, name);
}
