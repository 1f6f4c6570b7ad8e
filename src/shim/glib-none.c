// SPDX-License-Identifier: Apache-2.0
/*
 * The shim has GLib linked in, and an object of GLib's comes with all that it refers to: string functions
 * with tables for text of any script (280 kB), assertions and g_strcmp0 with the test framework, which starts
 * processes and has channels (100 kB), logging with GVariant (80 kB). What the shim uses of these stands here
 * in their place; what it never asks for ends it. Only the static program is linked with this file
 * (meson.build).
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void never(const char *function)
{
	g_error("%s is not in the shim", function);
}

/* Prototypes are GLib's: the argument lists are those of its headers. */
#define NOT_HERE(type, name, ...)                                                                            \
	type name(__VA_ARGS__)                                                                               \
	{                                                                                                    \
		never(#name);                                                                                \
		return 0;                                                                                    \
	}

/* glib/gunicode.h, glib/gstrfuncs.h */
NOT_HERE(gboolean, g_unichar_isalnum, gunichar c)
NOT_HERE(gboolean, g_unichar_ismark, gunichar c)
NOT_HERE(gboolean, g_unichar_isprint, gunichar c)
NOT_HERE(gboolean, g_unichar_isupper, gunichar c)
NOT_HERE(GUnicodeType, g_unichar_type, gunichar c)
NOT_HERE(gchar *, g_utf8_casefold, const gchar *text, gssize len)
NOT_HERE(gchar *, g_utf8_normalize, const gchar *text, gssize len, GNormalizeMode mode)
NOT_HERE(gchar *, g_utf8_strdown, const gchar *text, gssize len)
NOT_HERE(gchar *, g_str_to_ascii, const gchar *text, const gchar *locale)

/* glib/gvariant.h; of g_log_variant */
NOT_HERE(gboolean, g_variant_is_of_type, GVariant *value, const GVariantType *type)
NOT_HERE(const gchar *, g_variant_get_string, GVariant *value, gsize *length)
NOT_HERE(gconstpointer, g_variant_get_fixed_array, GVariant *value, gsize *n, gsize size)
NOT_HERE(gchar *, g_variant_print, GVariant *value, gboolean annotate)
NOT_HERE(gsize, g_variant_iter_init, GVariantIter *iter, GVariant *value)
NOT_HERE(gboolean, g_variant_iter_next, GVariantIter *iter, const gchar *format, ...)
void g_variant_unref(GVariant *value)
{
	never("g_variant_unref");
}

/* glib/gtestutils.h */
#undef g_strcmp0
int g_strcmp0(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

gboolean g_test_subprocess(void)
{
	return FALSE;
}

void g_assertion_message(const char *domain, const char *file, int line, const char *function,
                         const char *message)
{
	fprintf(stderr, "%s:%d:%s: %s\n", file, line, function, message);
	abort();
}

void g_assertion_message_expr(const char *domain, const char *file, int line, const char *function,
                              const char *expr)
{
	fprintf(stderr, "%s:%d:%s: assertion failed: (%s)\n", file, line, function,
	        expr != NULL ? expr : "not reached");
	abort();
}

void g_assertion_message_cmpnum(const char *domain, const char *file, int line, const char *function,
                                const char *expr, long double a, const char *cmp, long double b, char type)
{
	g_assertion_message_expr(domain, file, line, function, expr);
}
