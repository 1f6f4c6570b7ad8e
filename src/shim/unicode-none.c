// SPDX-License-Identifier: Apache-2.0
/* The shim has GLib linked in, and GLib's string functions stand in one object with those that fold, compare
 * and transliterate text of any script, whose tables are 280 kB. The shim asks for none of them: these stand
 * in their place, so that the tables stay out. Only the static program is linked with this file
 * (meson.build). */
#include <glib.h>

static void never(const char *function)
{
	g_error("%s is not in the shim", function);
}

/* Prototypes are GLib's: the argument lists are those of glib/gunicode.h and glib/gstrfuncs.h. */
#define NOT_HERE(type, name, ...)                                                                            \
	type name(__VA_ARGS__)                                                                               \
	{                                                                                                    \
		never(#name);                                                                                \
		return 0;                                                                                    \
	}

NOT_HERE(gboolean, g_unichar_isalnum, gunichar c)
NOT_HERE(gboolean, g_unichar_ismark, gunichar c)
NOT_HERE(gboolean, g_unichar_isprint, gunichar c)
NOT_HERE(gboolean, g_unichar_isupper, gunichar c)
NOT_HERE(GUnicodeType, g_unichar_type, gunichar c)
NOT_HERE(gchar *, g_utf8_casefold, const gchar *text, gssize len)
NOT_HERE(gchar *, g_utf8_normalize, const gchar *text, gssize len, GNormalizeMode mode)
NOT_HERE(gchar *, g_utf8_strdown, const gchar *text, gssize len)
NOT_HERE(gchar *, g_str_to_ascii, const gchar *text, const gchar *locale)
