// SPDX-License-Identifier: Apache-2.0
#include "oci/filters.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "oci/filters-scan.h"
#include <string.h>

#define FILTERS_MAX 16384
#define FILTER_LEN_MAX 65536
#define PATH_FIELDS_MAX 256
#define REGEX_LEN_MAX 4096
#define REGEX_LIMITS "(*LIMIT_MATCH=200000)(*LIMIT_DEPTH=2000)(*LIMIT_HEAP=4096)"

typedef enum {
	OPERATOR_PRESENT,
	OPERATOR_EQUAL,
	OPERATOR_NOT_EQUAL,
	OPERATOR_MATCHES,
} Operator;

typedef struct {
	GPtrArray *path; // of char*
	Operator operator;
	char *value;
	GRegex *regex; // of OPERATOR_MATCHES; NULL: never matches
} Selector;

/* Any of `alternatives`, each of which is a GPtrArray of Selector* that must all match; no alternatives:
 * everything matches. */
struct Filter {
	GPtrArray *alternatives;
};

static void selector_free(gpointer p)
{
	Selector *s = p;
	if (s->path != NULL)
		g_ptr_array_unref(s->path);
	g_free(s->value);
	if (s->regex != NULL)
		g_regex_unref(s->regex);
	g_free(s);
}

static void unref_array(gpointer p)
{
	g_ptr_array_unref(p);
}

static Filter *filter_new(void)
{
	Filter *f = g_new(Filter, 1);
	f->alternatives = g_ptr_array_new_with_free_func(unref_array);
	return f;
}

void filter_free(Filter *f)
{
	if (f == NULL)
		return;
	g_ptr_array_unref(f->alternatives);
	g_free(f);
}

bool filter_is_always(const Filter *f)
{
	return f->alternatives->len == 0;
}

/* ---- regular expressions ---- */

/* The escapes that RE2 has. */
static bool escape_is_known(const char *after)
{
	char c = *after;
	if (c == '\0')
		return false;
	if (c >= '1' && c <= '9') // octal has two digits at least, one is a back-reference
		return c <= '7' && after[1] >= '0' && after[1] <= '7';
	return !g_ascii_isalpha(c) || strchr("pPdDsSwWAbBzaftnrvxQE", c) != NULL;
}

/* What may follow `(?`: `:`, `P<name>`, `<name>`, flags of imsU. */
static bool group_is_known(const char *after)
{
	if (*after == ':')
		return true;
	if (g_str_has_prefix(after, "P<"))
		return true;
	if (*after == '<')
		return after[1] != '=' && after[1] != '!';
	size_t flags = strspn(after, "imsU-");
	return flags > 0 && (after[flags] == ':' || after[flags] == ')');
}

/* Whether Go would take the expression, as far as PCRE takes more: look-around, back-references, recursion,
 * possessive quantifiers, verbs, comments. */
static bool regex_is_re2(const char *s)
{
	bool class = false;
	for (; *s != '\0'; s++) {
		if (*s == '\\') {
			if (!escape_is_known(s + 1))
				return false;
			if (s[1] == 'Q') {
				const char *end = strstr(s, "\\E");
				if (end == NULL)
					return true;
				s = end;
			} else if (strchr("pPx", s[1]) != NULL && s[2] == '{') {
				const char *end = strchr(s, '}'); // not a quantifier's
				if (end == NULL)
					return false;
				s = end - 1;
			}
			s++;
		} else if (class) {
			class = *s != ']';
		} else if (*s == '[') {
			class = true;
			// a bracket that comes first stands for itself
			s += s[1] == '^';
			s += s[1] == ']';
		} else if (*s == '(' && (s[1] == '*' || (s[1] == '?' && !group_is_known(s + 2)))) {
			return false;
		} else if (strchr("*+?}", *s) != NULL && (s[1] == '+' || s[1] == '*')) {
			return false;
		}
	}
	return true;
}

static GRegex *regex_compile(const char *pattern)
{
	g_autoptr(GRegex) regex = NULL;
	if (strlen(pattern) <= REGEX_LEN_MAX && g_utf8_validate(pattern, -1, NULL) && regex_is_re2(pattern)) {
		g_autofree char *bounded = g_strconcat(REGEX_LIMITS, pattern, NULL);
		regex = g_regex_new(bounded, G_REGEX_DOLLAR_ENDONLY | G_REGEX_NO_AUTO_CAPTURE, 0, NULL);
	}
	// upstream logs too, and the selector matches nothing
	if (regex == NULL)
		log_error("error compiling regexp", "regexp", pattern, NULL);
	return g_steal_pointer(&regex);
}

/* ---- the parser ---- */

typedef struct {
	Scanner scanner;
	GError **error;
} Parser;

static bool fail(Parser *p, size_t pos, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The text shows where: `[name >|=|< foo]: ...`. */
static bool fail(Parser *p, size_t pos, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	g_autofree char *what = g_strdup_vprintf(format, ap);
	va_end(ap);
	const char *input = p->scanner.input;
	if (pos < p->scanner.len)
		return error_set(p->error, CTRD_ERR_UNKNOWN, "filters: parse error: [%.*s >|%c|< %s]: %s",
		                 (int)pos, input, input[pos], input + pos + 1, what);
	return error_set(p->error, CTRD_ERR_UNKNOWN, "filters: parse error: [%s]: %s", input, what);
}

static bool unquote(Parser *p, size_t pos, size_t len, bool any_quote, char **ret)
{
	const char *s = p->scanner.input + pos;
	if (!any_quote && *s != '\'' && *s != '"')
		return fail(p, pos, "invalid quote encountered");
	*ret = filter_unquote(s, len);
	return *ret != NULL || fail(p, pos, "unquoting failed: quote syntax error");
}

static bool parse_field(Parser *p, char **ret)
{
	size_t pos, len;
	switch (scanner_scan(&p->scanner, &pos, &len)) {
	case TOKEN_FIELD:
		*ret = g_strndup(p->scanner.input + pos, len);
		return true;
	case TOKEN_QUOTED:
		return unquote(p, pos, len, false, ret);
	case TOKEN_ILLEGAL:
		return fail(p, pos, "%s", p->scanner.error);
	default:
		return fail(p, pos, "expected field or quoted");
	}
}

static bool parse_path(Parser *p, GPtrArray *path)
{
	for (;;) {
		char *field = NULL;
		if (!parse_field(p, &field))
			return false;
		g_ptr_array_add(path, field);
		if (scanner_peek(&p->scanner) != '.')
			return true;
		size_t pos, len;
		scanner_scan(&p->scanner, &pos, &len);
		if (path->len == PATH_FIELDS_MAX)
			return fail(p, pos, "more than %d fields", PATH_FIELDS_MAX);
	}
}

static bool parse_operator(Parser *p, Operator *ret)
{
	static const struct {
		const char *text;
		Operator operator;
	} operators[] = {{"==", OPERATOR_EQUAL}, {"!=", OPERATOR_NOT_EQUAL}, {"~=", OPERATOR_MATCHES}};
	size_t pos, len;
	Token token = scanner_scan(&p->scanner, &pos, &len);
	if (token == TOKEN_ILLEGAL)
		return fail(p, pos, "%s", p->scanner.error);
	if (token != TOKEN_OPERATOR)
		return fail(p, pos, "expected an operator (\"==\"|\"!=\"|\"~=\")");
	g_autofree char *text = g_strndup(p->scanner.input + pos, len);
	for (size_t i = 0; i < G_N_ELEMENTS(operators); i++) {
		if (strcmp(text, operators[i].text) == 0) {
			*ret = operators[i].operator;
			return true;
		}
	}
	return fail(p, pos, "unsupported operator %s", Q(text));
}

static bool parse_value(Parser *p, bool any_quote, char **ret)
{
	size_t pos, len;
	switch (scanner_scan(&p->scanner, &pos, &len)) {
	case TOKEN_VALUE:
	case TOKEN_FIELD:
		*ret = g_strndup(p->scanner.input + pos, len);
		return true;
	case TOKEN_QUOTED:
		return unquote(p, pos, len, any_quote, ret);
	case TOKEN_ILLEGAL:
		return fail(p, pos, "%s", p->scanner.error);
	default:
		return fail(p, pos, "expected value or quoted");
	}
}

static bool parse_selector(Parser *p, Selector *s)
{
	s->path = g_ptr_array_new_with_free_func(g_free);
	if (!parse_path(p, s->path))
		return false;
	gunichar r = scanner_peek(&p->scanner);
	if (r == ',' || r == RUNE_EOF)
		return true;
	if (!parse_operator(p, &s->operator) || !parse_value(p, s->operator== OPERATOR_MATCHES, &s->value))
		return false;
	if (s->operator== OPERATOR_MATCHES)
		s->regex = regex_compile(s->value);
	return true;
}

static bool parse_selectors(Parser *p, GPtrArray *selectors)
{
	for (;;) {
		Selector *s = g_new0(Selector, 1);
		g_ptr_array_add(selectors, s);
		if (!parse_selector(p, s))
			return false;
		gunichar r = scanner_peek(&p->scanner);
		if (r == RUNE_EOF)
			return true;
		if (r != ',') {
			char utf8[8] = "\xef\xbf\xbd";
			if (r <= 0x10ffff)
				utf8[g_unichar_to_utf8(r, utf8)] = '\0';
			return fail(p, p->scanner.next_pos, "unexpected input: %s", utf8);
		}
		size_t pos, len;
		scanner_scan(&p->scanner, &pos, &len);
	}
}

/* ret: the selectors, or NULL for the empty filter. */
static bool parse(const char *text, GPtrArray **ret, GError **error)
{
	*ret = NULL;
	if (*text == '\0')
		return true;
	if (strlen(text) > FILTER_LEN_MAX)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "filters: filter of %zu bytes is over the limit of %d", strlen(text),
		                 FILTER_LEN_MAX);
	g_autoptr(GPtrArray) selectors = g_ptr_array_new_with_free_func(selector_free);
	Parser p = {.error = error};
	scanner_init(&p.scanner, text);
	if (!parse_selectors(&p, selectors))
		return false;
	*ret = g_steal_pointer(&selectors);
	return true;
}

Filter *filter_parse(const char *text, GError **error)
{
	GPtrArray *selectors;
	if (!parse(text, &selectors, error)) {
		error_reclass(error, CTRD_ERR_INVALID_ARGUMENT);
		return NULL;
	}
	Filter *f = filter_new();
	if (selectors != NULL)
		g_ptr_array_add(f->alternatives, selectors);
	return f;
}

Filter *filter_parse_all(const char *const *filters, GError **error)
{
	g_autoptr(Filter) f = filter_new();
	size_t n = filters != NULL ? g_strv_length((char **)filters) : 0;
	if (n > FILTERS_MAX) {
		error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "filters: more than %d filters",
		                FILTERS_MAX);
		return NULL;
	}
	bool always = n == 0;
	for (size_t i = 0; i < n; i++) {
		g_autoptr(GError) why = NULL;
		GPtrArray *selectors;
		if (!parse(filters[i], &selectors, &why)) {
			error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "%s", why->message);
			return NULL;
		}
		if (selectors != NULL)
			g_ptr_array_add(f->alternatives, selectors);
		else
			always = true;
	}
	if (always)
		g_ptr_array_set_size(f->alternatives, 0);
	return g_steal_pointer(&f);
}

static bool selector_match(const Selector *s, FilterField field, void *data)
{
	bool present = false;
	const char *value = field((const char *const *)s->path->pdata, s->path->len, &present, data);
	value = str_or(value, "");
	switch (s->operator) {
	case OPERATOR_PRESENT:
		return present;
	case OPERATOR_EQUAL:
		return present && strcmp(value, s->value) == 0;
	case OPERATOR_NOT_EQUAL:
		return strcmp(value, s->value) != 0;
	case OPERATOR_MATCHES:
		return s->regex != NULL && g_utf8_validate(value, -1, NULL) &&
		       g_regex_match(s->regex, value, 0, NULL);
	}
	return false;
}

static bool selectors_match(GPtrArray *selectors, FilterField field, void *data)
{
	for (guint i = 0; i < selectors->len; i++)
		if (!selector_match(selectors->pdata[i], field, data))
			return false;
	return true;
}

bool filter_match(const Filter *f, FilterField field, void *data)
{
	for (guint i = 0; i < f->alternatives->len; i++)
		if (selectors_match(f->alternatives->pdata[i], field, data))
			return true;
	return filter_is_always(f);
}

const char *filter_map_field(GHashTable *map, const char *const *path, size_t n, bool *present)
{
	const char *value = NULL;
	if (n == 1) {
		value = strmap_get(map, path[0]);
	} else if (n > 1) {
		g_autoptr(GString) key = g_string_new(path[0]);
		for (size_t i = 1; i < n; i++) {
			g_string_append_c(key, '.');
			g_string_append(key, path[i]);
		}
		value = strmap_get(map, key->str);
	}
	*present = value != NULL;
	return value;
}
