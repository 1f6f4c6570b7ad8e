// SPDX-License-Identifier: Apache-2.0
#include "daemon/flags.h"
#include "base/error.h"
#include <string.h>

static const Flag *find(const Flag *flags, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(flags[i].name, name) == 0 || g_strcmp0(flags[i].alias, name) == 0)
			return &flags[i];
	}
	return NULL;
}

static bool parse_bool(const char *name, const char *text, bool *ret, GError **error)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True", NULL};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False", NULL};

	if (!g_strv_contains(yes, text) && !g_strv_contains(no, text))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "invalid boolean value %s for -%s: parse error", Q(text), name);
	*ret = g_strv_contains(yes, text);
	return true;
}

bool flags_parse(const Flag *flags, size_t n, int argc, char **argv, int *index, GError **error)
{
	while (*index < argc) {
		const char *arg = argv[*index];

		if (arg[0] != '-' || arg[1] == '\0')
			return true;
		(*index)++;
		if (strcmp(arg, "--") == 0)
			return true;
		const char *text = arg + (arg[1] == '-' ? 2 : 1);
		if (*text == '\0' || *text == '-' || *text == '=')
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "bad flag syntax: %s", arg);
		const char *equals = strchr(text, '=');
		g_autofree char *name =
		        g_strndup(text, equals != NULL ? (size_t)(equals - text) : strlen(text));
		const Flag *flag = find(flags, n, name);
		if (flag == NULL)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "flag provided but not defined: -%s", name);
		if (flag->value == NULL) {
			*flag->set = true;
			if (equals != NULL && !parse_bool(name, equals + 1, flag->set, error))
				return false;
			continue;
		}
		if (equals == NULL && *index >= argc)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "flag needs an argument: -%s",
			                 name);
		*flag->value = equals != NULL ? equals + 1 : argv[(*index)++];
		if (flag->set != NULL)
			*flag->set = true;
	}
	return true;
}

void flags_usage(const Flag *flags, size_t n, GString *out)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	size_t width = 0;

	for (size_t i = 0; i < n; i++) {
		char *name = g_strdup_printf(
		        "--%s%s%s%s%s", flags[i].name, flags[i].value != NULL ? " value" : "",
		        flags[i].alias != NULL ? ", -" : "", flags[i].alias != NULL ? flags[i].alias : "",
		        flags[i].alias != NULL && flags[i].value != NULL ? " value" : "");

		width = MAX(width, strlen(name));
		g_ptr_array_add(names, name);
	}
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(out, "   %-*s  %s\n", (int)width, (char *)names->pdata[i],
		                       flags[i].usage);
}
