// SPDX-License-Identifier: Apache-2.0
#include "base/identifiers.h"
#include "base/error.h"
#include <string.h>

#define IDENTIFIER_PATTERN "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
#define LABEL_KEY_SHOWN 64 // what an error text shows of a key

static bool identifier_matches(const char *s)
{
	bool after_separator = true; // a separator may neither begin nor follow another
	for (; *s != '\0'; s++) {
		if (g_ascii_isalnum(*s))
			after_separator = false;
		else if (after_separator || strchr("._-", *s) == NULL)
			return false;
		else
			after_separator = true;
	}
	return !after_separator;
}

bool identifier_validate(const char *s, GError **error)
{
	if (s == NULL || *s == '\0')
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "identifier must not be empty");
	if (strlen(s) > IDENTIFIER_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "identifier %s greater than maximum length (%d characters)", Q(s),
		                       IDENTIFIER_MAX);
	if (!identifier_matches(s))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
		                       "identifier %s must match " IDENTIFIER_PATTERN, Q(s));
	return true;
}

bool label_validate(const char *key, const char *value, GError **error)
{
	size_t total = strlen(key) + strlen(value);
	if (total <= LABEL_MAX)
		return true;
	return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT,
	                       "label key and value length (%zu bytes) greater than maximum size (%d bytes), "
	                       "key: %.*s",
	                       total, LABEL_MAX, LABEL_KEY_SHOWN, key);
}

bool labels_validate(GHashTable *labels, GError **error)
{
	if (labels == NULL)
		return true;
	GHashTableIter iter;
	gpointer key, value;
	g_hash_table_iter_init(&iter, labels);
	while (g_hash_table_iter_next(&iter, &key, &value))
		if (!label_validate(key, value, error))
			return false;
	return true;
}
