// SPDX-License-Identifier: Apache-2.0

#include "shim/args.h"

#include "base/error.h"
#include <string.h>

void args_clear(Args *a)
{
	char **const strings[] = {&a->ns,     &a->id,      &a->socket,         &a->debug_socket,
	                          &a->bundle, &a->address, &a->publish_binary, &a->action};
	for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++)
		g_clear_pointer(strings[i], g_free);
}

static bool parse_bool(const char *name, const char *value, bool *ret, GError **error)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True", NULL};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False", NULL};
	*ret = g_strv_contains(yes, value);
	if (*ret || g_strv_contains(no, value))
		return true;
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid boolean value %s for -%s: parse error",
	                 Q(value), name);
}

bool args_parse(int argc, char *const *argv, Args *ret, GError **error)
{
	*ret = (Args){0};
	const struct {
		const char *name;
		bool *flag;
		char **value;
	} options[] = {
	        {"debug", &ret->debug, NULL},
	        {"v", &ret->version, NULL},
	        {"version", &ret->version, NULL},
	        {"info", &ret->info, NULL},
	        {"namespace", NULL, &ret->ns},
	        {"id", NULL, &ret->id},
	        {"socket", NULL, &ret->socket},
	        {"debug-socket", NULL, &ret->debug_socket},
	        {"bundle", NULL, &ret->bundle},
	        {"address", NULL, &ret->address},
	        {"publish-binary", NULL, &ret->publish_binary},
	};
	ret->action = g_strdup("");
	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
		if (options[i].value != NULL)
			*options[i].value = g_strdup("");

	int i = 1;
	for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
		const char *arg = argv[i] + 1;
		if (*arg == '-')
			arg++;
		if (*arg == '\0') { // "--" ends the flags
			i++;
			break;
		}
		const char *eq = strchr(arg, '=');
		g_autofree char *name = eq != NULL ? g_strndup(arg, (size_t)(eq - arg)) : g_strdup(arg);
		unsigned k = 0;
		while (k < G_N_ELEMENTS(options) && strcmp(options[k].name, name) != 0)
			k++;
		if (k == G_N_ELEMENTS(options))
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "flag provided but not defined: -%s", name);
		if (options[k].flag != NULL) {
			if (!parse_bool(name, eq != NULL ? eq + 1 : "true", options[k].flag, error))
				return false;
			continue;
		}
		if (eq == NULL && i + 1 >= argc)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "flag needs an argument: -%s",
			                 name);
		g_free(*options[k].value);
		*options[k].value = g_strdup(eq != NULL ? eq + 1 : argv[++i]);
	}
	if (i < argc) {
		g_free(ret->action);
		ret->action = g_strdup(argv[i]);
	}
	return true;
}
