// SPDX-License-Identifier: Apache-2.0
#include "remote/challenge.h"
#include "base/util.h"
#include <string.h>

void challenge_free(Challenge *c)
{
	if (c == NULL)
		return;
	g_hash_table_unref(c->params);
	g_free(c);
}

static bool is_token(char c)
{
	return c > 31 && c < 127 && strchr(" \t\"(),/:;<=>?@[]\\{}", c) == NULL;
}

static char *take_token(const char **s)
{
	const char *start = *s;
	while (is_token(**s))
		(*s)++;
	return g_strndup(start, (size_t)(*s - start));
}

static void skip_space(const char **s)
{
	*s += strspn(*s, " \t\r\n");
}

/* A quoted string that does not end is empty, and ends the header, as upstream's. */
static char *take_value(const char **s)
{
	if (**s != '"')
		return take_token(s);
	(*s)++;
	g_autoptr(GString) value = g_string_new(NULL);
	for (; **s != '\0'; (*s)++) {
		if (**s == '"') {
			(*s)++;
			return g_strdup(value->str);
		}
		if (**s == '\\' && (*s)[1] != '\0')
			(*s)++;
		g_string_append_c(value, **s);
	}
	return g_strdup("");
}

Challenge *challenge_parse(const char *header)
{
	const char *s = header;
	g_autofree char *scheme = take_token(&s);
	ChallengeScheme kind;
	if (g_ascii_strcasecmp(scheme, "bearer") == 0)
		kind = CHALLENGE_BEARER;
	else if (g_ascii_strcasecmp(scheme, "digest") == 0)
		kind = CHALLENGE_DIGEST;
	else if (g_ascii_strcasecmp(scheme, "basic") == 0)
		kind = CHALLENGE_BASIC;
	else
		return NULL;
	Challenge *c = g_new0(Challenge, 1);
	c->scheme = kind;
	c->params = strmap_new();
	for (;;) {
		skip_space(&s);
		g_autofree char *key = take_token(&s);
		if (*key == '\0' || *s != '=')
			return c;
		s++;
		g_autofree char *value = take_value(&s);
		g_autofree char *name = g_ascii_strdown(key, -1);
		strmap_set(c->params, name, value);
		skip_space(&s);
		if (*s != ',')
			return c;
		s++;
	}
}

static int by_preference(const void *a, const void *b)
{
	const Challenge *x = *(Challenge *const *)a, *y = *(Challenge *const *)b;
	return (int)x->scheme - (int)y->scheme;
}

GPtrArray *challenges_parse(GPtrArray *headers)
{
	GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)challenge_free);
	for (guint i = 0; i < headers->len; i++) {
		Challenge *c = challenge_parse(headers->pdata[i]);
		if (c != NULL)
			g_ptr_array_add(all, c);
	}
	g_ptr_array_sort(all, by_preference); // stable: it is a merge sort in GLib
	return all;
}
