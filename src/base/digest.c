// SPDX-License-Identifier: Apache-2.0
// The form of digests. Hashing is in digester.c, apart, so that what only checks names does not link OpenSSL.
#include "base/digest.h"
#include "base/error.h"
#include <string.h>

static const struct {
	const char *name;
	size_t hex_len;
} algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};

static size_t algorithm_hex_len(const char *name, size_t len)
{
	for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++)
		if (strlen(algorithms[i].name) == len && memcmp(algorithms[i].name, name, len) == 0)
			return algorithms[i].hex_len;
	return 0;
}

/* [a-z0-9]+(?:[.+_-][a-z0-9]+)* over the algorithm, [a-zA-Z0-9=_-]+ over the rest. */
static bool form_is_digest(const char *algorithm, size_t len, const char *encoded)
{
	bool after_separator = true;
	for (size_t i = 0; i < len; i++) {
		char c = algorithm[i];
		bool word = g_ascii_islower(c) || g_ascii_isdigit(c);
		if (!word && (after_separator || strchr(".+_-", c) == NULL))
			return false;
		after_separator = !word;
	}
	if (after_separator)
		return false;
	for (const char *p = encoded; *p != '\0'; p++)
		if (!g_ascii_isalnum(*p) && strchr("=_-", *p) == NULL)
			return false;
	return true;
}

bool digest_validate(const char *digest, GError **error)
{
	const char *colon = digest != NULL ? strchr(digest, ':') : NULL;
	if (colon == NULL || colon == digest || colon[1] == '\0')
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid checksum digest format");
	size_t hex_len = algorithm_hex_len(digest, (size_t)(colon - digest));
	if (hex_len == 0) {
		if (!form_is_digest(digest, (size_t)(colon - digest), colon + 1))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid checksum digest format");
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "unsupported digest algorithm");
	}
	if (strlen(colon + 1) != hex_len)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid checksum digest length");
	if (strspn(colon + 1, "0123456789abcdef") != hex_len)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid checksum digest format");
	return true;
}

char *digest_algorithm(const char *digest)
{
	return g_strndup(digest, strcspn(digest, ":"));
}

const char *digest_hex(const char *digest)
{
	const char *colon = strchr(digest, ':');
	return colon != NULL ? colon + 1 : digest + strlen(digest);
}
