// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"
#include "base/error.h"
#include <string.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

TimeNs time_now(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t time_mono(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

char *time_format_rfc3339(TimeNs t)
{
	int64_t seconds = t / NS_PER_SEC, ns = t % NS_PER_SEC;
	if (ns < 0) {
		ns += NS_PER_SEC;
		seconds--;
	}
	time_t when = (time_t)seconds;
	struct tm tm;
	gmtime_r(&when, &tm);
	char fraction[12] = "";
	if (ns != 0) {
		size_t n = (size_t)g_snprintf(fraction, sizeof(fraction), ".%09d", (int)ns);
		while (fraction[n - 1] == '0')
			fraction[--n] = '\0';
	}
	return g_strdup_printf("%04d-%02d-%02dT%02d:%02d:%02d%sZ", tm.tm_year + 1900, tm.tm_mon + 1,
	                       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction);
}

/* Exactly n digits; moves *s past them. */
static bool take_digits(const char **s, int n, int *ret)
{
	int value = 0;
	for (int i = 0; i < n; i++, (*s)++) {
		if (!g_ascii_isdigit(**s))
			return false;
		value = value * 10 + (**s - '0');
	}
	*ret = value;
	return true;
}

static bool take_char(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static bool take_fraction(const char **s, int64_t *ret_ns)
{
	int64_t ns = 0, scale = NS_PER_SEC;
	if (!g_ascii_isdigit(**s))
		return false;
	for (; g_ascii_isdigit(**s); (*s)++) {
		if (scale == 1)
			return false; // finer than a nanosecond
		scale /= 10;
		ns += (**s - '0') * scale;
	}
	*ret_ns = ns;
	return true;
}

static bool take_offset(const char **s, int64_t *ret_seconds)
{
	*ret_seconds = 0;
	if (take_char(s, 'Z'))
		return true;
	bool negative = **s == '-';
	if (!negative && **s != '+')
		return false;
	(*s)++;
	int hours, minutes;
	if (!take_digits(s, 2, &hours) || !take_char(s, ':') || !take_digits(s, 2, &minutes) || hours > 24 ||
	    minutes > 60)
		return false;
	*ret_seconds = (hours * 60 + minutes) * 60 * (negative ? -1 : 1);
	return true;
}

/* Days since the epoch of a date in the proleptic Gregorian calendar (era arithmetic over 400-year cycles;
 * timegm would do too, but is not in every libc and accepts the 31st of February). */
static int64_t days_from_date(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

bool time_parse_rfc3339(const char *s, TimeNs *ret, GError **error)
{
	const char *p = s;
	int year, month, day, hour, minute, second;
	int64_t ns = 0, offset = 0;
	bool ok = take_digits(&p, 4, &year) && take_char(&p, '-') && take_digits(&p, 2, &month) &&
	          take_char(&p, '-') && take_digits(&p, 2, &day) && take_char(&p, 'T') &&
	          take_digits(&p, 2, &hour) && take_char(&p, ':') && take_digits(&p, 2, &minute) &&
	          take_char(&p, ':') && take_digits(&p, 2, &second) &&
	          (!take_char(&p, '.') || take_fraction(&p, &ns)) && take_offset(&p, &offset) && *p == '\0';
	ok = ok && month >= 1 && month <= 12 && day >= 1 && day <= days_in_month(year, month) && hour < 24 &&
	     minute < 60 && second < 60;
	if (!ok)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "time %s is not RFC 3339", Q(s));

	int64_t seconds =
	        days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
	TimeNs t;
	if (__builtin_mul_overflow(seconds, NS_PER_SEC, &t) || __builtin_add_overflow(t, ns, &t))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "time %s is out of range", Q(s));
	*ret = t;
	return true;
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000}, // U+00B5, micro sign
        {"\xce\xbcs", 1000}, // U+03BC, Greek mu
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", UINT64_C(60) * 1000000000},
        {"h", UINT64_C(3600) * 1000000000},
};

static bool invalid_duration(const char *s, GError **error)
{
	return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "time: invalid duration %s", Q(s));
}

/* The unit at the front of s, len bytes long; 0: there is none of that name. */
static uint64_t duration_unit(const char *s, size_t len)
{
	for (size_t i = 0; i < G_N_ELEMENTS(duration_units); i++)
		if (strlen(duration_units[i].name) == len && memcmp(duration_units[i].name, s, len) == 0)
			return duration_units[i].ns;
	return 0;
}

/* One `12.5h`; adds to *total. Go's limit is 2^63 (only reachable with a minus sign), checked by the caller.
 */
static bool take_duration_part(const char *whole, const char **s, uint64_t *total, GError **error)
{
	const uint64_t limit = UINT64_C(1) << 63;
	uint64_t value = 0, fraction = 0;
	double scale = 1;
	bool digits = false;

	for (; g_ascii_isdigit(**s); (*s)++, digits = true) {
		if (value > limit / 10)
			return invalid_duration(whole, error);
		value = value * 10 + (uint64_t)(**s - '0');
		if (value > limit)
			return invalid_duration(whole, error);
	}
	if (take_char(s, '.')) {
		bool full = false; // further digits cannot matter
		for (; g_ascii_isdigit(**s); (*s)++, digits = true) {
			full = full || fraction > (limit - 1) / 10;
			if (full)
				continue;
			fraction = fraction * 10 + (uint64_t)(**s - '0');
			scale *= 10;
		}
	}
	if (!digits)
		return invalid_duration(whole, error);

	size_t len = strcspn(*s, ".0123456789");
	if (len == 0)
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "time: missing unit in duration %s",
		                 Q(whole));
	uint64_t unit = duration_unit(*s, len);
	if (unit == 0) {
		g_autofree char *name = g_strndup(*s, len);
		return error_set(error, CTRD_ERR_INVALID_ARGUMENT, "time: unknown unit %s in duration %s",
		                 Q(name), Q(whole));
	}
	*s += len;
	if (value > limit / unit)
		return invalid_duration(whole, error);
	value *= unit;
	if (fraction > 0)
		value += (uint64_t)((double)fraction * ((double)unit / scale));
	if (value > limit || *total + value > limit)
		return invalid_duration(whole, error);
	*total += value;
	return true;
}

bool duration_parse(const char *s, int64_t *ret_ns, GError **error)
{
	const char *p = s;
	bool negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	if (strcmp(p, "0") == 0) {
		*ret_ns = 0;
		return true;
	}
	if (*p == '\0')
		return invalid_duration(s, error);
	uint64_t total = 0;
	while (*p != '\0')
		if (!take_duration_part(s, &p, &total, error))
			return false;
	if (total > INT64_MAX && !negative)
		return invalid_duration(s, error);
	*ret_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
	return true;
}

/* Appends value/10^digits with the trailing zeros of the fraction cut. */
static void append_fraction(GString *out, uint64_t value, int digits)
{
	uint64_t scale = 1;
	for (int i = 0; i < digits; i++)
		scale *= 10;
	g_string_append_printf(out, "%" G_GUINT64_FORMAT, value / scale);
	uint64_t fraction = value % scale;
	if (fraction == 0)
		return;
	g_string_append_printf(out, ".%0*" G_GUINT64_FORMAT, digits, fraction);
	while (out->str[out->len - 1] == '0')
		g_string_truncate(out, out->len - 1);
}

char *duration_format(int64_t ns)
{
	if (ns == 0)
		return g_strdup("0s");
	GString *out = g_string_new(ns < 0 ? "-" : NULL);
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	if (u < 1000) {
		g_string_append_printf(out, "%" G_GUINT64_FORMAT "ns", u);
	} else if (u < 1000000) {
		append_fraction(out, u, 3);
		g_string_append(out, "\xc2\xb5s");
	} else if (u < NS_PER_SEC) {
		append_fraction(out, u, 6);
		g_string_append(out, "ms");
	} else {
		uint64_t minutes = u / (60 * NS_PER_SEC), hours = minutes / 60;
		if (hours > 0)
			g_string_append_printf(out, "%" G_GUINT64_FORMAT "h", hours);
		if (minutes > 0)
			g_string_append_printf(out, "%" G_GUINT64_FORMAT "m", minutes % 60);
		append_fraction(out, u % (60 * NS_PER_SEC), 9);
		g_string_append_c(out, 's');
	}
	return g_string_free(out, FALSE);
}
