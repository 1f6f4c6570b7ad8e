// SPDX-License-Identifier: Apache-2.0

#include "base/failpoint.h"

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VARIABLE "CONTAINERD_FAILPOINTS"
#define DELAY_MAX (3600 * 1000) // milliseconds
#define COUNT_UNLIMITED (-1)

typedef enum { FAIL_OFF, FAIL_ERROR, FAIL_PANIC, FAIL_DELAY, FAIL_KILL } FailType;

static const struct {
	const char *name;
	bool has_arg;
} types[] = {[FAIL_OFF] = {"off", false},
             [FAIL_ERROR] = {"error", true},
             [FAIL_PANIC] = {"panic", true},
             [FAIL_DELAY] = {"delay", true},
             [FAIL_KILL] = {"kill", false}};

struct FailTerm {
	FailTerm *next;
	FailType type;
	int64_t count; // atomic
	int percent;   // 100: always
	int64_t delay_ms;
	char *text;
};

bool failpoints_on;

/* All uses of FAILPOINT in this program; weak, for programs without one. */
extern FailPoint *__start_failpoints[] __attribute__((weak, visibility("hidden")));
extern FailPoint *__stop_failpoints[] __attribute__((weak, visibility("hidden")));

/* ---- the grammar ---- */

static void terms_free(FailTerm *t)
{
	while (t != NULL) {
		FailTerm *next = t->next;
		g_free(t->text);
		g_free(t);
		t = next;
	}
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FailTerm, terms_free)

static bool invalid(const char *term, GError **error)
{
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "invalid term %s", Q(term));
}

/* `<number><mark>` at *s, if that is what stands there. */
static bool scan_number(const char **s, char mark, int64_t max, int64_t *ret)
{
	size_t n = strspn(*s, "0123456789");
	if (n == 0 || n > 18 || (*s)[n] != mark)
		return false;
	g_autofree char *digits = g_strndup(*s, n);
	int64_t value;
	if (!parse_i64(digits, &value) || value > max)
		return false;
	*ret = value;
	*s += n + 1;
	return true;
}

static bool scan_arg(const char **s, FailTerm *t)
{
	if (**s != '(')
		return t->type != FAIL_DELAY; // a delay of how long?
	++*s;
	if (t->type == FAIL_DELAY)
		return scan_number(s, ')', DELAY_MAX, &t->delay_ms);
	const char *end = strchr(*s, ')');
	if (end == NULL || end == *s)
		return false;
	t->text = g_strndup(*s, (size_t)(end - *s));
	*s = end + 1;
	return true;
}

static FailTerm *scan_term(const char **s, GError **error)
{
	const char *start = *s;
	g_autoptr(FailTerm) t = g_new0(FailTerm, 1);
	int64_t percent = 100;
	t->count = COUNT_UNLIMITED;
	scan_number(s, '%', 100, &percent);
	t->percent = (int)percent;
	scan_number(s, '*', INT64_MAX, &t->count);
	size_t n = strspn(*s, "abcdefghijklmnopqrstuvwxyz");
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		if (strlen(types[i].name) != n || strncmp(*s, types[i].name, n) != 0)
			continue;
		*s += n;
		t->type = (FailType)i;
		if (types[i].has_arg && !scan_arg(s, t))
			break;
		return g_steal_pointer(&t);
	}
	invalid(start, error);
	return NULL;
}

/* Up to the end, or to a semicolon. */
static FailTerm *scan_terms(const char **s, GError **error)
{
	g_autoptr(FailTerm) head = scan_term(s, error);
	if (head == NULL)
		return NULL;
	for (FailTerm *last = head; **s != '\0' && **s != ';'; last = last->next) {
		if (!g_str_has_prefix(*s, "->")) {
			invalid(*s, error);
			return NULL;
		}
		*s += 2;
		last->next = scan_term(s, error);
		if (last->next == NULL)
			return NULL;
	}
	return g_steal_pointer(&head);
}

char *failpoint_normalize(const char *terms, GError **error)
{
	g_autoptr(FailTerm) head = scan_terms(&terms, error);
	if (head == NULL)
		return NULL;
	if (*terms != '\0') {
		invalid(terms, error);
		return NULL;
	}
	g_autoptr(GString) out = g_string_new(NULL);
	for (const FailTerm *t = head; t != NULL; t = t->next) {
		if (t->percent < 100)
			g_string_append_printf(out, "%d%%", t->percent);
		if (t->count != COUNT_UNLIMITED)
			g_string_append_printf(out, "%" G_GINT64_FORMAT "*", t->count);
		g_string_append(out, types[t->type].name);
		if (t->type == FAIL_DELAY)
			g_string_append_printf(out, "(%" G_GINT64_FORMAT ")", t->delay_ms);
		else if (t->text != NULL)
			g_string_append_printf(out, "(%s)", t->text);
		if (t->next != NULL)
			g_string_append(out, "->");
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

/* ---- acting ---- */

/* Takes one of the count; false where none is left. */
static bool term_take(FailTerm *t)
{
	if (t->percent < 100 && g_random_int_range(0, 100) >= t->percent)
		return false;
	int64_t count = __atomic_load_n(&t->count, __ATOMIC_RELAXED);
	do {
		if (count == COUNT_UNLIMITED)
			return true;
		if (count == 0)
			return false;
	} while (!__atomic_compare_exchange_n(&t->count, &count, count - 1, false, __ATOMIC_RELAXED,
	                                      __ATOMIC_RELAXED));
	return true;
}

static void sleep_ms(int64_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Whoever dies here cannot tell afterwards. */
static void record_hit(const char *name)
{
	const char *path = g_getenv(VARIABLE "_HITS");
	autofd fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return;
	g_autofree char *line = g_strconcat(name, "\n", NULL);
	ssize_t n = write(fd, line, strlen(line));
	(void)n;
}

bool failpoint_hit(FailPoint *point, GError **error)
{
	FailTerm *t = point->terms;
	while (t != NULL && !term_take(t))
		t = t->next;
	if (t == NULL || t->type == FAIL_OFF)
		return true;
	// no more than debug: what `start` of a shim prints is its answer
	log_debug("failpoint", "point", point->name, "type", types[t->type].name, NULL);
	record_hit(point->name);
	switch (t->type) {
	case FAIL_ERROR:
		return error_set(error, CTRD_ERR_UNKNOWN, "%s", str_or(t->text, point->name));
	case FAIL_PANIC:
		log_at(LOG_PANIC, str_or(t->text, point->name), NULL);
		abort();
	case FAIL_DELAY:
		sleep_ms(t->delay_ms);
		return true;
	case FAIL_KILL:
		kill(getpid(), SIGKILL);
		return true;
	case FAIL_OFF:
		break;
	}
	return true;
}

/* ---- set-up ---- */

static bool is_of(const char *program, const char *name)
{
	bool shim = g_str_has_prefix(name, "shim.");
	return strcmp(program, "shim") == 0 ? shim : !shim;
}

static void list_points(void)
{
	for (FailPoint **p = __start_failpoints; p < __stop_failpoints; p++)
		printf("%s\n", (*p)->name);
}

/* The terms are the point's; a point that is used twice under one name has them both. */
static bool set_point(const char *name, FailTerm *terms)
{
	for (FailPoint **p = __start_failpoints; p < __stop_failpoints; p++) {
		if (strcmp((*p)->name, name) != 0)
			continue;
		terms_free((*p)->terms);
		(*p)->terms = terms;
		return true;
	}
	return false;
}

static bool setup_one(const char *program, const char **s, GError **error)
{
	size_t n = strcspn(*s, "=;");
	g_autofree char *name = g_strndup(*s, n);
	*s += n;
	if (**s != '=' || n == 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "%s has no terms", Q(name));
	++*s;
	g_autoptr(FailTerm) terms = scan_terms(s, error);
	if (terms == NULL)
		return error_prefix(error, "%s", name);
	if (!is_of(program, name))
		return true;
	if (!set_point(name, terms))
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "unknown point %s", Q(name));
	(void)g_steal_pointer(&terms);
	return true;
}

bool failpoints_setup(const char *program, GError **error)
{
	const char *s = g_getenv(VARIABLE);
	if (str_empty(s))
		return true;
	if (strcmp(s, "list") == 0) {
		list_points();
		exit(0);
	}
	while (*s != '\0') {
		if (!setup_one(program, &s, error))
			return error_prefix(error, VARIABLE);
		s += *s == ';';
	}
	failpoints_on = true;
	return true;
}
