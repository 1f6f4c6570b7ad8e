// SPDX-License-Identifier: Apache-2.0

/*
 * The `format/` transformer. Upstream runs Go's text/template over the strings and notes that this is more
 * than is needed; here a template is text with calls in it, `{{ name number... }}`. What else Go's templates
 * can do is refused with an error of the parser, never passed through.
 */

#include "base/error.h"
#include "base/util.h"
#include "mount/mount-active.h"
#include <string.h>

#define ARGS_MAX 2

typedef struct {
	const char *template; // all of it
	const char *at;       // where the call's name begins
	const char *name;
	size_t name_len;
	int64_t args[ARGS_MAX];
	int n_args;
	const char *end; // behind its last argument
} Call;

static int line_of(const char *template, const char *at)
{
	int n = 1;
	for (const char *p = template; p < at; p++)
		n += *p == '\n';
	return n;
}

static bool parse_error(const Call *c, const char *at, GError **error, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
static bool parse_error(const Call *c, const char *at, GError **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	return error_set(error, CTRD_ERR_UNKNOWN, "template: :%d: %s", line_of(c->template, at), text);
}

static bool exec_error(const Call *c, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool exec_error(const Call *c, GError **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	const char *newline = g_strrstr_len(c->template, c->at - c->template, "\n");
	long column = c->at - (newline != NULL ? newline + 1 : c->template);
	return error_set(error, CTRD_ERR_UNKNOWN, "template: :%d:%ld: executing \"\" at <%.*s>: %s",
	                 line_of(c->template, c->at), column, (int)(c->end - c->at), c->at, text);
}

static const char *skip_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* From behind `{{` to behind `}}`. */
static const char *parse_call(Call *c, const char *p, bool *ret_trim_after, GError **error)
{
	const char *close = strstr(p, "}}");
	if (close == NULL) {
		parse_error(c, p, error, "unclosed action");
		return NULL;
	}
	c->at = p = skip_space(p);
	if (p == close) {
		parse_error(c, p, error, "missing value for command");
		return NULL;
	}
	c->name = p;
	while (g_ascii_isalnum(*p) || *p == '_')
		p++;
	c->name_len = (size_t)(p - c->name);
	c->n_args = 0;
	for (;;) {
		c->end = p;
		p = skip_space(p);
		if (p >= close || (*p == '-' && p + 1 == close && p > c->end))
			break;
		char *end = NULL;
		errno = 0;
		int64_t n = g_ascii_strtoll(p, &end, 10);
		if (end == p || errno != 0 || c->name_len == 0) {
			parse_error(c, p, error,
			            "unexpected %s in a mount template: only calls with numbers are known",
			            Q(p));
			return NULL;
		}
		if (c->n_args < ARGS_MAX)
			c->args[c->n_args] = n;
		c->n_args++;
		p = end;
	}
	*ret_trim_after = *p == '-';
	return close + 2;
}

/* ---- the functions ---- */

static ActiveMount *nth(const Call *c, GPtrArray *active, GError **error)
{
	if (c->args[0] >= 0 && c->args[0] < active->len)
		return active->pdata[c->args[0]];
	exec_error(c, error,
	           "error calling %.*s: index out of bounds: %" G_GINT64_FORMAT ", has %u active mounts",
	           (int)c->name_len, c->name, c->args[0], active->len);
	return NULL;
}

static bool call_source(const Call *c, GPtrArray *active, GString *out, GError **error)
{
	ActiveMount *a = nth(c, active, error);
	if (a != NULL)
		g_string_append(out, str_or(a->mount->source, ""));
	return a != NULL;
}

static bool call_target(const Call *c, GPtrArray *active, GString *out, GError **error)
{
	ActiveMount *a = nth(c, active, error);
	if (a != NULL)
		g_string_append(out, str_or(a->mount->target, ""));
	return a != NULL;
}

static bool call_mount(const Call *c, GPtrArray *active, GString *out, GError **error)
{
	ActiveMount *a = nth(c, active, error);
	if (a != NULL)
		g_string_append(out, a->point);
	return a != NULL;
}

static bool call_overlay(const Call *c, GPtrArray *active, GString *out, GError **error)
{
	int64_t from = c->args[0], to = c->args[1], step = from > to ? -1 : 1;
	if (MIN(from, to) < 0 || MAX(from, to) >= active->len)
		return exec_error(c, error,
		                  "error calling overlay: invalid range: %" G_GINT64_FORMAT
		                  "-%" G_GINT64_FORMAT ", has %u active mounts",
		                  from, to, active->len);
	for (int64_t i = from;; i += step) {
		const ActiveMount *a = active->pdata[i];
		g_string_append_printf(out, "%s%s", i == from ? "" : ":", a->point);
		if (i == to)
			return true;
	}
}

static const struct {
	const char *name;
	int n_args;
	bool (*call)(const Call *c, GPtrArray *active, GString *out, GError **error);
} functions[] = {
        {"source", 1, call_source},
        {"target", 1, call_target},
        {"mount", 1, call_mount},
        {"overlay", 2, call_overlay},
};

static bool run_call(const Call *c, GPtrArray *active, GString *out, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
		if (strlen(functions[i].name) != c->name_len ||
		    strncmp(functions[i].name, c->name, c->name_len) != 0)
			continue;
		if (c->n_args != functions[i].n_args)
			return exec_error(c, error, "wrong number of args for %s: want %d got %d",
			                  functions[i].name, functions[i].n_args, c->n_args);
		return functions[i].call(c, active, out, error);
	}
	g_autofree char *name = g_strndup(c->name, c->name_len);
	return parse_error(c, c->at, error, "function %s not defined", Q(name));
}

/* Formats *s in place; what has no template in it stays as it is. */
static bool format(char **s, GPtrArray *active, GError **error)
{
	if (*s == NULL || strstr(*s, "{{") == NULL)
		return true;
	g_autoptr(GString) out = g_string_new(NULL);
	const char *p = *s, *open;
	while ((open = strstr(p, "{{")) != NULL) {
		g_string_append_len(out, p, open - p);
		p = open + 2;
		if (*p == '-' && g_ascii_isspace(p[1])) {
			while (out->len > 0 && g_ascii_isspace(out->str[out->len - 1]))
				g_string_truncate(out, out->len - 1);
			p++;
		}
		Call c = {.template = *s};
		bool trim = false;
		p = parse_call(&c, p, &trim, error);
		if (p == NULL || !run_call(&c, active, out, error))
			return false;
		if (trim)
			p = skip_space(p);
	}
	g_string_append(out, p);
	g_free(*s);
	*s = g_string_free(g_steal_pointer(&out), FALSE);
	return true;
}

Mount *mount_transform_format(const Mount *m, const MountTransformEnv *env, GError **error)
{
	g_autoptr(Mount) copy = mount_copy(m);
	if (!format(&copy->source, env->active, error) || !format(&copy->target, env->active, error))
		return NULL;
	for (char **o = copy->options; *o != NULL; o++) {
		if (!format(o, env->active, error))
			return NULL;
	}
	return g_steal_pointer(&copy);
}

/* ---- all of them by name ---- */

static Mount *transform_mkdir(const Mount *m, const MountTransformEnv *env, GError **error)
{
	return mount_apply_mkdir(m, env->roots, error);
}

MountTransformFn mount_transformer(const char *name, size_t len)
{
	static const struct {
		const char *name;
		MountTransformFn fn;
	} all[] = {{"format", mount_transform_format},
	           {"mkfs", mount_transform_mkfs},
	           {"mkdir", transform_mkdir}};
	for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
		if (strlen(all[i].name) == len && strncmp(all[i].name, name, len) == 0)
			return all[i].fn;
	}
	return NULL;
}
