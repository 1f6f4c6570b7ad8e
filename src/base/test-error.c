// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include <errno.h>
#include <string.h>

static void check_quote(const char *s, const char *quoted)
{
	g_autofree char *q = go_quote(s);
	g_assert_cmpstr(q, ==, quoted);
	g_assert_cmpstr(Q(s), ==, quoted);
}

static void test_quote(void)
{
	check_quote("", "\"\"");
	check_quote("plain text", "\"plain text\"");
	check_quote("a\"b\\c'd", "\"a\\\"b\\\\c'd\"");
	check_quote("\a\b\f\n\r\t\v", "\"\\a\\b\\f\\n\\r\\t\\v\"");
	check_quote("\x01\x1b\x7f", "\"\\x01\\x1b\\x7f\"");
	check_quote("é世🙂", "\"é世🙂\"");
	check_quote("\xff\xc3(", "\"\\xff\\xc3(\"");        // invalid bytes
	check_quote("\xed\xa0\x80", "\"\\xed\\xa0\\x80\""); // a surrogate
	check_quote("\xc2\xa0\xe2\x80\xa8",
	            "\"\\u00a0\\u2028\""); // spaces other than ASCII's are not printable
	check_quote("\xe2\x80\x8b\xef\xbb\xbf", "\"\\u200b\\ufeff\"");
	check_quote("\xef\xbf\xbd", "\"\xef\xbf\xbd\""); // U+FFFD itself is printable
	check_quote("\xf3\xa0\x80\x81", "\"\\U000e0001\"");
	check_quote("\xee\x80\x80", "\"\\ue000\""); // private use
}

static bool printable(gunichar r)
{
	switch (g_unichar_type(r)) {
	case G_UNICODE_CONTROL:
	case G_UNICODE_FORMAT:
	case G_UNICODE_PRIVATE_USE:
	case G_UNICODE_SURROGATE:
	case G_UNICODE_LINE_SEPARATOR:
	case G_UNICODE_PARAGRAPH_SEPARATOR:
		return false;
	case G_UNICODE_SPACE_SEPARATOR:
		return r == ' ';
	default:
		return true;
	}
}

/* The short table of error.c says the same of each assigned code point as GLib's long ones. */
static void test_quote_all(void)
{
	for (gunichar r = 1; r <= 0x10ffff; r++) {
		if (!g_unichar_validate(r) || g_unichar_type(r) == G_UNICODE_UNASSIGNED || r == '"' ||
		    r == '\\')
			continue;
		char text[8] = {0};
		g_unichar_to_utf8(r, text);
		bool as_it_is = Q(text)[1] != '\\';
		if (as_it_is != printable(r))
			g_error("U+%04X is %s", r, as_it_is ? "not escaped" : "escaped");
	}
}

static void test_quote_cut(void)
{
	g_autofree char *longest = g_strnfill(1000, 'x');
	const char *q = Q(longest);
	g_assert_cmpuint(strlen(q), <, sizeof(GoQuoteTmp));
	g_assert_true(g_str_has_prefix(q, "\"xxx"));
	g_assert_true(g_str_has_suffix(q, "x...\""));
	// no escape is cut in two
	g_autofree char *bytes = g_strnfill(1000, '\xff');
	q = Q(bytes);
	g_assert_true(g_str_has_suffix(q, "\\xff...\""));
	// 250 bytes fit
	g_autofree char *fits = g_strnfill(250, 'x');
	g_autofree char *whole = go_quote(fits);
	g_assert_cmpstr(Q(fits), ==, whole);
	for (size_t n = 251; n < 260; n++) {
		g_autofree char *more = g_strnfill(n, 'x');
		g_assert_true(g_str_has_suffix(Q(more), "...\""));
	}
}

static void test_errno(void)
{
	static const struct {
		int errnum;
		const char *text;
	} cases[] = {
	        {ENOENT, "no such file or directory"},
	        {EPERM, "operation not permitted"},
	        {EEXIST, "file exists"},
	        {ENOTDIR, "not a directory"},
	        {ERANGE, "numerical result out of range"},
	        {EXDEV, "invalid cross-device link"},
	        {ENOTEMPTY, "directory not empty"},
	        {EDOTDOT, "RFS specific error"},
	        {9999, "errno 9999"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = errno_text(cases[i].errnum);
		g_assert_cmpstr(text, ==, cases[i].text);
	}
}

static void test_set(void)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(error_set_class(&error, CTRD_ERR_NOT_FOUND, "image %s", Q("x")));
	g_assert_cmpstr(error->message, ==, "image \"x\": not found");
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_assert_false(error_prefix(&error, "pull %d", 1));
	g_assert_cmpstr(error->message, ==, "pull 1: image \"x\": not found");
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_NOT_FOUND);
	error_reclass(&error, CTRD_ERR_INTERNAL);
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_INTERNAL);
	g_clear_error(&error);

	g_assert_false(error_set(&error, CTRD_ERR_ABORTED, "100%% %s", "sure"));
	g_assert_cmpstr(error->message, ==, "100% sure");
	g_clear_error(&error);

	g_assert_false(error_set_errno(&error, ENOENT, "open %s", "/x"));
	g_assert_cmpstr(error->message, ==, "open /x: no such file or directory");
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_clear_error(&error);

	g_assert_false(
	        error_set_errno_class(&error, CTRD_ERR_UNAVAILABLE, ECONNREFUSED, "dial unix %s", "/s"));
	g_assert_cmpstr(error->message, ==, "dial unix /s: connection refused");
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNAVAILABLE);

	// nobody wants to know
	g_assert_false(error_set(NULL, CTRD_ERR_INTERNAL, "x"));
	g_assert_false(error_set_class(NULL, CTRD_ERR_INTERNAL, "x"));
	g_assert_false(error_set_errno(NULL, ENOENT, "x"));
	g_assert_false(error_prefix(NULL, "x"));
	error_reclass(NULL, CTRD_ERR_INTERNAL);
}

static void test_class(void)
{
	g_autoptr(GError) foreign = g_error_new_literal(G_SHELL_ERROR, CTRD_ERR_NOT_FOUND, "x");
	g_assert_cmpint(error_class(foreign), ==, CTRD_ERR_UNKNOWN);
	g_assert_cmpint(error_class(NULL), ==, CTRD_ERR_UNKNOWN);
	g_assert_false(error_is(NULL, CTRD_ERR_UNKNOWN));
	for (int i = 0; i < CTRD_ERROR_N_CODES; i++)
		g_assert_nonnull(error_class_text((CtrdErrorCode)i));
	g_assert_cmpstr(error_class_text(CTRD_ERR_UNAUTHENTICATED), ==, "unauthorized");
	g_assert_cmpstr(error_class_text(CTRD_ERR_CANCELED), ==, "context canceled");
	g_assert_cmpstr(error_class_text((CtrdErrorCode)99), ==, "unknown");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/error/quote", test_quote);
	g_test_add_func("/error/quote-all", test_quote_all);
	g_test_add_func("/error/quote-cut", test_quote_cut);
	g_test_add_func("/error/errno", test_errno);
	g_test_add_func("/error/set", test_set);
	g_test_add_func("/error/class", test_class);
	return g_test_run();
}
