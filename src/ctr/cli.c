// SPDX-License-Identifier: Apache-2.0
#include "ctr/cli.h"
#include "base/error.h"
#include "base/time.h"
#include "base/util.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	const CliFlag *flag;
	bool set;
	GPtrArray *values; // char*, the last one counts for flags that are given once
} Value;

struct Cli {
	const CliCommand *root, *command;
	GPtrArray *chain;   // the commands entered, root first
	GString *path;      // "ctr images pull"
	GHashTable *values; // name -> Value, of root and command
	GPtrArray *args;    // NULL-terminated
	int status;
};

/* ---- values ---- */

static void value_free(void *data)
{
	Value *v = data;
	g_ptr_array_unref(v->values);
	g_free(v);
}

static bool value_check(const CliFlag *f, const char *text, GError **error)
{
	bool ok = true;
	int64_t i = 0;
	uint64_t u = 0;
	char *end = NULL;
	switch (f->type) {
	case FLAG_BOOL:
		ok = g_str_equal(text, "true") || g_str_equal(text, "false") || g_str_equal(text, "1") ||
		     g_str_equal(text, "0");
		break;
	case FLAG_INT:
		ok = parse_i64(text, &i);
		break;
	case FLAG_UINT:
		ok = parse_u64(text, &u);
		break;
	case FLAG_FLOAT:
		g_ascii_strtod(text, &end);
		ok = end != text && *end == '\0';
		break;
	case FLAG_DURATION:
		ok = duration_parse(text, &i, NULL);
		break;
	case FLAG_STRING:
	case FLAG_STRINGS:
		break;
	}
	if (!ok)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "invalid value %s for flag -%s: parse error", Q(text), f->name);
	return true;
}

static bool value_add(Value *v, const char *text, GError **error)
{
	if (!value_check(v->flag, text, error))
		return false;
	if (!v->set || v->flag->type != FLAG_STRINGS)
		g_ptr_array_set_size(v->values, 0);
	g_ptr_array_add(v->values, g_strdup(text));
	v->set = true;
	return true;
}

static bool declare(Cli *cli, const CliFlag *flags, GError **error)
{
	for (const CliFlag *f = flags; f != NULL && f->name != NULL; f++) {
		Value *v = g_new0(Value, 1);
		v->flag = f;
		v->values = g_ptr_array_new_with_free_func(g_free);
		g_hash_table_replace(cli->values, (gpointer)f->name, v);
		const char *env = f->env != NULL ? g_getenv(f->env) : NULL;
		if (env != NULL) {
			if (!value_add(v, env, error))
				return false;
		} else if (f->value != NULL) {
			g_ptr_array_add(v->values, g_strdup(f->value));
		}
	}
	return true;
}

static Value *get(Cli *cli, const char *name)
{
	Value *v = g_hash_table_lookup(cli->values, name);
	g_assert(v != NULL);
	return v;
}

static const char *last(Cli *cli, const char *name)
{
	Value *v = get(cli, name);
	return v->values->len > 0 ? v->values->pdata[v->values->len - 1] : "";
}

bool cli_bool(Cli *cli, const char *name)
{
	const char *s = last(cli, name);
	return g_str_equal(s, "true") || g_str_equal(s, "1");
}

const char *cli_string(Cli *cli, const char *name)
{
	return last(cli, name);
}

char **cli_strings(Cli *cli, const char *name)
{
	GPtrArray *values = get(cli, name)->values;
	if (values->len == 0 || values->pdata[values->len - 1] != NULL)
		g_ptr_array_add(values, NULL);
	return (char **)values->pdata;
}

int64_t cli_int(Cli *cli, const char *name)
{
	int64_t n = 0;
	parse_i64(last(cli, name), &n);
	return n;
}

uint64_t cli_uint(Cli *cli, const char *name)
{
	uint64_t n = 0;
	parse_u64(last(cli, name), &n);
	return n;
}

double cli_float(Cli *cli, const char *name)
{
	return g_ascii_strtod(last(cli, name), NULL);
}

int64_t cli_duration(Cli *cli, const char *name)
{
	int64_t ns = 0;
	const char *s = last(cli, name);
	if (*s != '\0')
		duration_parse(s, &ns, NULL);
	return ns;
}

bool cli_is_set(Cli *cli, const char *name)
{
	return get(cli, name)->set;
}

int cli_n_args(Cli *cli)
{
	return (int)cli->args->len - 1;
}

const char *cli_arg(Cli *cli, int i)
{
	return i < cli_n_args(cli) ? cli->args->pdata[i] : "";
}

char **cli_args(Cli *cli)
{
	return (char **)cli->args->pdata;
}

void cli_exit(Cli *cli, int status)
{
	cli->status = status;
}

const CliCommand *cli_command(Cli *cli)
{
	return cli->command;
}

/* ---- help ---- */

static void append_names(GString *s, const char *name, const char *const *aliases, const char *dash)
{
	g_string_append_printf(s, "%s%s", dash != NULL ? "--" : "", name);
	for (size_t i = 0; aliases[i] != NULL; i++)
		g_string_append_printf(s, ", %s%s",
		                       dash == NULL              ? ""
		                       : strlen(aliases[i]) == 1 ? "-"
		                                                 : "--",
		                       aliases[i]);
}

static void print_rows(const char *title, GPtrArray *left, GPtrArray *right)
{
	size_t width = 0;
	for (guint i = 0; i < left->len; i++)
		width = MAX(width, strlen(left->pdata[i]));
	if (left->len > 0)
		printf("\n%s:\n", title);
	for (guint i = 0; i < left->len; i++)
		printf("   %-*s  %s\n", (int)width, (char *)left->pdata[i], (char *)right->pdata[i]);
}

static char *flag_left(const CliFlag *f)
{
	g_autoptr(GString) s = g_string_new(NULL);
	append_names(s, f->name, f->aliases, "-");
	if (f->type != FLAG_BOOL)
		g_string_append_printf(s, " %s", str_or(f->value_name, "value"));
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static char *flag_right(const CliFlag *f)
{
	g_autoptr(GString) s = g_string_new(f->usage);
	if (f->value != NULL)
		g_string_append_printf(s, f->type == FLAG_STRING ? " (default: \"%s\")" : " (default: %s)",
		                       f->value);
	if (f->env != NULL)
		g_string_append_printf(s, " [$%s]", f->env);
	return g_string_free(g_steal_pointer(&s), FALSE);
}

static void print_flags(const char *title, const CliFlag *const *sets)
{
	g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) right = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; sets[i] != NULL; i++) {
		for (const CliFlag *f = sets[i]; f->name != NULL; f++) {
			if (f->hidden)
				continue;
			g_ptr_array_add(left, flag_left(f));
			g_ptr_array_add(right, flag_right(f));
		}
	}
	g_ptr_array_add(left, g_strdup("--help, -h"));
	g_ptr_array_add(right, g_strdup("Show help"));
	print_rows(title, left, right);
}

static void help(Cli *cli)
{
	const CliCommand *c = cli->command;
	printf("NAME:\n   %s - %s\n\nUSAGE:\n   %s", cli->path->str, str_or(c->usage, ""), cli->path->str);
	printf("%s%s\n",
	       c->commands != NULL ? " [global options] command [command options]" : " [command options] ",
	       c->commands != NULL ? "" : str_or(c->arguments, "[arguments...]"));
	if (c->description != NULL)
		printf("\nDESCRIPTION:\n%s\n", c->description);
	if (c->commands != NULL) {
		g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_free);
		g_autoptr(GPtrArray) right = g_ptr_array_new_with_free_func(g_free);
		for (size_t i = 0; c->commands[i] != NULL; i++) {
			if (c->commands[i]->hidden)
				continue;
			GString *s = g_string_new(NULL);
			append_names(s, c->commands[i]->name, c->commands[i]->aliases, NULL);
			g_ptr_array_add(left, g_string_free(s, FALSE));
			g_ptr_array_add(right, g_strdup(str_or(c->commands[i]->usage, "")));
		}
		print_rows("COMMANDS", left, right);
	}
	print_flags(c == cli->root ? "GLOBAL OPTIONS" : "OPTIONS", c->flags);
}

/* ---- parsing ---- */

static bool named(const char *name, const char *const *aliases, const char *word)
{
	if (g_str_equal(name, word))
		return true;
	for (size_t i = 0; aliases[i] != NULL; i++) {
		if (g_str_equal(aliases[i], word))
			return true;
	}
	return false;
}

static Value *find_flag(Cli *cli, const char *word)
{
	/* the innermost command first: its names may hide those of the outer ones */
	for (guint k = cli->chain->len; k-- > 0;) {
		const CliCommand *c = cli->chain->pdata[k];
		for (size_t i = 0; c->flags[i] != NULL; i++) {
			for (const CliFlag *f = c->flags[i]; f->name != NULL; f++) {
				if (named(f->name, f->aliases, word))
					return get(cli, f->name);
			}
		}
	}
	return NULL;
}

/* One flag at args[*i]; moves *i to its last word. */
static bool parse_flag(Cli *cli, char **args, int *i, GError **error)
{
	const char *word = args[*i] + (args[*i][1] == '-' ? 2 : 1);
	const char *equals = strchr(word, '=');
	g_autofree char *name = equals != NULL ? g_strndup(word, (gsize)(equals - word)) : g_strdup(word);
	Value *v = find_flag(cli, name);
	if (v == NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
		                 "flag provided but not defined: -%s (see %s --help)", name, cli->path->str);
	if (equals != NULL)
		return value_add(v, equals + 1, error);
	if (v->flag->type == FLAG_BOOL)
		return value_add(v, "true", error);
	if (args[*i + 1] == NULL)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "flag needs an argument: -%s", name);
	return value_add(v, args[++*i], error);
}

static const CliCommand *find_command(const CliCommand *in, const char *word)
{
	for (size_t i = 0; in->commands != NULL && in->commands[i] != NULL; i++) {
		if (named(in->commands[i]->name, in->commands[i]->aliases, word))
			return in->commands[i];
	}
	return NULL;
}

static bool enter(Cli *cli, const CliCommand *c, GError **error)
{
	cli->command = c;
	g_ptr_array_add(cli->chain, (gpointer)c);
	g_string_append_printf(cli->path, "%s%s", cli->path->len > 0 ? " " : "", c->name);
	for (size_t i = 0; c->flags[i] != NULL; i++) {
		if (!declare(cli, c->flags[i], error))
			return false;
	}
	return true;
}

/* Walks down the tree and collects flags and arguments. *ret_help: only help was asked for. */
static bool parse(Cli *cli, char **args, bool *ret_help, GError **error)
{
	int i = 0;
	for (; args[i] != NULL; i++) {
		const char *a = args[i];
		if (g_str_equal(a, "--")) {
			i++;
			break;
		}
		if (a[0] == '-' && a[1] != '\0') {
			if (g_str_equal(a, "-h") || g_str_equal(a, "--help") || g_str_equal(a, "-help")) {
				*ret_help = true;
				return true;
			}
			if (!parse_flag(cli, args, &i, error))
				return false;
			continue;
		}
		const CliCommand *next = find_command(cli->command, a);
		if (next != NULL) {
			if (!enter(cli, next, error))
				return false;
			continue;
		}
		if (cli->command->commands != NULL && (g_str_equal(a, "help") || g_str_equal(a, "h"))) {
			*ret_help = true;
			return true;
		}
		break;
	}
	for (; args[i] != NULL; i++)
		g_ptr_array_add(cli->args, args[i]);
	g_ptr_array_add(cli->args, NULL);
	return true;
}

static bool run(Cli *cli, char **args, GError **error)
{
	bool want_help = false;
	if (!enter(cli, cli->root, error) || !parse(cli, args, &want_help, error))
		return false;
	if (want_help) {
		help(cli);
		return true;
	}
	if (cli->command->run == NULL) {
		if (cli_n_args(cli) > 0)
			return error_set(error, CTRD_ERR_INVALID_ARGUMENT,
			                 "no such command: %s (see %s --help)", cli_arg(cli, 0),
			                 cli->path->str);
		help(cli);
		return true;
	}
	return cli->command->run(cli, error);
}

int cli_main(const CliCommand *root, int argc, char **argv)
{
	Cli cli = {.root = root, .path = g_string_new(NULL)};
	cli.values = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, value_free);
	cli.args = g_ptr_array_new();
	cli.chain = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	if (!run(&cli, argv + MIN(argc, 1), &error)) {
		fflush(stdout);
		fprintf(stderr, "ctr: %s\n", error->message);
		if (cli.status == 0)
			cli.status = 1;
	}
	g_string_free(cli.path, TRUE);
	g_hash_table_unref(cli.values);
	g_ptr_array_unref(cli.args);
	g_ptr_array_unref(cli.chain);
	return cli.status;
}
