// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"
#include "base/error.h"
#include "base/util.h"
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES 16384
#define FIELDS_MAX 32

static atomic_int log_level = LOG_INFO;
static atomic_bool log_json;
static atomic_int log_fd = STDERR_FILENO;
static atomic_uint log_warnings;
static _Thread_local LogScope *log_scope;

static const char *const level_names[] = {
        [LOG_PANIC] = "panic", [LOG_FATAL] = "fatal", [LOG_ERROR] = "error", [LOG_WARN] = "warning",
        [LOG_INFO] = "info",   [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
};

bool log_level_parse(const char *s, LogLevel *ret, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(level_names); i++) {
		if (g_ascii_strcasecmp(s, level_names[i]) == 0 ||
		    (i == LOG_WARN && g_ascii_strcasecmp(s, "warn") == 0)) {
			*ret = (LogLevel)i;
			return true;
		}
	}
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "not a valid logrus Level: %s", Q(s));
}

const char *log_level_name(LogLevel level)
{
	return (size_t)level < G_N_ELEMENTS(level_names) ? level_names[level] : "unknown";
}

void log_set_level(LogLevel level)
{
	atomic_store(&log_level, (int)level);
}

LogLevel log_get_level(void)
{
	return (LogLevel)atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool log_enabled(LogLevel level)
{
	return level <= log_get_level();
}

void log_set_json(bool json)
{
	atomic_store(&log_json, json);
}

void log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

void log_scope_enter(LogScope *scope)
{
	scope->outer = log_scope;
	log_scope = scope;
}

void log_scope_leave(LogScope *scope)
{
	g_assert(log_scope == scope);
	log_scope = scope->outer;
}

unsigned log_count_warnings(void)
{
	return atomic_load(&log_warnings);
}

typedef struct {
	const char *key, *value;
} Field;

typedef struct {
	Field at[FIELDS_MAX];
	size_t n;
} Fields;

static void fields_set(Fields *fields, const char *key, const char *value)
{
	// the format's own keys may not be taken
	if (strcmp(key, "time") == 0)
		key = "fields.time";
	else if (strcmp(key, "msg") == 0)
		key = "fields.msg";
	else if (strcmp(key, "level") == 0)
		key = "fields.level";
	value = str_or(value, "<nil>");
	for (size_t i = 0; i < fields->n; i++) {
		if (strcmp(fields->at[i].key, key) == 0) {
			fields->at[i].value = value;
			return;
		}
	}
	if (fields->n < FIELDS_MAX)
		fields->at[fields->n++] = (Field){key, value};
}

static void fields_add_scopes(Fields *fields, const LogScope *scope)
{
	if (scope == NULL)
		return;
	fields_add_scopes(fields, scope->outer); // so that the inner one wins
	for (size_t i = 0; i < G_N_ELEMENTS(scope->key); i++)
		if (scope->key[i] != NULL && scope->value[i] != NULL)
			fields_set(fields, scope->key[i], scope->value[i]);
}

static int field_compare(const void *a, const void *b)
{
	return strcmp(((const Field *)a)->key, ((const Field *)b)->key);
}

static char *timestamp(void)
{
	struct timespec ts;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	char zone[8] = "Z";
	if (tm.tm_gmtoff != 0) {
		long minutes = labs(tm.tm_gmtoff) / 60;
		g_snprintf(zone, sizeof(zone), "%c%02u:%02u", tm.tm_gmtoff < 0 ? '-' : '+',
		           (unsigned)(minutes / 60) % 100, (unsigned)(minutes % 60));
	}
	return g_strdup_printf("%04d-%02d-%02dT%02d:%02d:%02d.%09ld%s", tm.tm_year + 1900, tm.tm_mon + 1,
	                       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec, zone);
}

/* As Go's encoding/json writes a string: HTML characters, U+2028 and U+2029 escaped. */
static void append_json(GString *line, const char *s)
{
	g_string_append_c(line, '"');
	while (*s != '\0') {
		const unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\') {
			g_string_append_c(line, '\\');
			g_string_append_c(line, (char)c);
		} else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f') {
			g_string_append_c(line, '\\');
			g_string_append_c(line, c == '\n'   ? 'n'
			                        : c == '\r' ? 'r'
			                        : c == '\t' ? 't'
			                        : c == '\b' ? 'b'
			                                    : 'f');
		} else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
			g_string_append_printf(line, "\\u%04x", c);
		} else if (c < 0x80) {
			g_string_append_c(line, (char)c);
		} else {
			gunichar r = g_utf8_get_char_validated(s, -1);
			if (r == (gunichar)-1 || r == (gunichar)-2) {
				g_string_append(line, "\\ufffd");
			} else {
				const char *next = g_utf8_next_char(s);
				if (r == 0x2028 || r == 0x2029)
					g_string_append_printf(line, "\\u%04x", r);
				else
					g_string_append_len(line, s, next - s);
				s = next;
				continue;
			}
		}
		s++;
	}
	g_string_append_c(line, '"');
}

static bool text_needs_quotes(const char *s)
{
	for (; *s != '\0'; s++)
		if (!g_ascii_isalnum(*s) && strchr("-._/@^+", *s) == NULL)
			return true;
	return false;
}

static void append_text(GString *line, const char *s)
{
	if (text_needs_quotes(s)) {
		g_autofree char *quoted = go_quote(s);
		g_string_append(line, quoted);
	} else {
		g_string_append(line, s);
	}
}

typedef struct {
	const char *key;
	char *text; // key and value as they stand in the line
} Pair;

/* Renders a pair in at most *room bytes and takes them from it: a value that is too long is cut and says so.
 */
static void render_pair(Pair *pair, bool json, const char *key, const char *value, size_t *room)
{
	g_autofree char *cut = NULL;
	*pair = (Pair){.key = key};
	for (;;) {
		GString *text = g_string_new(NULL);
		if (json) {
			append_json(text, key);
			g_string_append_c(text, ':');
			append_json(text, value);
		} else {
			g_string_append(text, key);
			g_string_append_c(text, '=');
			append_text(text, value);
		}
		if (text->len + 1 <= *room) {
			*room -= text->len + 1;
			pair->text = g_string_free(text, FALSE);
			return;
		}
		g_string_free(text, TRUE);
		// an escape makes at most six bytes of one (\ufffd)
		size_t whole = strlen(value), overhead = 6 * strlen(key) + 64;
		if (cut != NULL || *room < overhead + 128)
			return;
		size_t kept = MIN((*room - overhead) / 6, whole);
		cut = g_strdup_printf("%.*s... (cut, %zu bytes)", (int)kept, value, whole);
		value = cut;
	}
}

static int pair_compare(const void *a, const void *b)
{
	return strcmp(((const Pair *)a)->key, ((const Pair *)b)->key);
}

static void write_line(LogLevel level, const char *msg, Fields *fields)
{
	const bool json = atomic_load_explicit(&log_json, memory_order_relaxed);
	g_autofree char *now = timestamp();
	Pair pairs[3 + FIELDS_MAX];
	size_t n = 0, room = LINE_MAX_BYTES - 2, msg_room = LINE_MAX_BYTES / 2;

	// ours first, so that no field takes their room
	render_pair(&pairs[n++], json, "time", now, &room);
	render_pair(&pairs[n++], json, "level", log_level_name(level), &room);
	if (json || *msg != '\0') {
		render_pair(&pairs[n++], json, "msg", msg, &msg_room);
		room -= LINE_MAX_BYTES / 2 - msg_room;
	}
	qsort(fields->at, fields->n, sizeof(Field), field_compare);
	for (size_t i = 0; i < fields->n; i++)
		render_pair(&pairs[n++], json, fields->at[i].key, fields->at[i].value, &room);
	if (json)
		qsort(pairs, n, sizeof(Pair), pair_compare);

	g_autoptr(GString) line = g_string_sized_new(512);
	for (size_t i = 0; i < n; i++) {
		if (pairs[i].text == NULL)
			continue;
		g_string_append_c(line, !json ? ' ' : line->len > 0 ? ',' : '{');
		g_string_append(line, pairs[i].text);
		g_free(pairs[i].text);
	}
	g_string_append(line, json ? "}\n" : "\n");
	const size_t skip = json ? 0 : 1; // the space before the first pair
	// one write, so that lines of several threads do not mix; there is nobody to tell where it fails
	(void)!RETRY_EINTR(write(atomic_load(&log_fd), line->str + skip, line->len - skip));
}

static void log_valist(LogLevel level, const char *msg, const char *error_text, va_list ap)
{
	Fields fields = {0};
	fields_add_scopes(&fields, log_scope);
	if (error_text != NULL)
		fields_set(&fields, "error", error_text);
	for (const char *key; (key = va_arg(ap, const char *)) != NULL;)
		fields_set(&fields, key, va_arg(ap, const char *));
	write_line(level, msg, &fields);
}

void log_at(LogLevel level, const char *msg, ...)
{
	if (level <= LOG_WARN)
		atomic_fetch_add(&log_warnings, 1);
	if (!log_enabled(level))
		return;
	va_list ap;
	va_start(ap, msg);
	log_valist(level, msg, NULL, ap);
	va_end(ap);
}

void log_error_take(LogLevel level, GError *error, const char *msg, ...)
{
	if (level <= LOG_WARN)
		atomic_fetch_add(&log_warnings, 1);
	if (log_enabled(level)) {
		va_list ap;
		va_start(ap, msg);
		log_valist(level, msg, error != NULL ? error->message : "<nil>", ap);
		va_end(ap);
	}
	g_clear_error(&error);
}
