// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/util.h"
#include "oci/platform.h"
#include <string.h>

typedef enum {
	KIND_ORDERED,
	KIND_ANY,
	KIND_ALL,
	KIND_OS, // one platform, whose architecture only says what is better
} Kind;

struct PlatformMatcher {
	Kind kind;
	GPtrArray *platforms; // of Platform*, normalized, the best first
};

static void free_platform(gpointer p)
{
	platform_free(p);
}

static PlatformMatcher *matcher_new(Kind kind)
{
	PlatformMatcher *m = g_new(PlatformMatcher, 1);
	*m = (PlatformMatcher){kind, g_ptr_array_new_with_free_func(free_platform)};
	return m;
}

void platform_matcher_free(PlatformMatcher *m)
{
	if (m == NULL)
		return;
	g_ptr_array_unref(m->platforms);
	g_free(m);
}

static void add(PlatformMatcher *m, const Platform *p)
{
	Platform *copy = platform_new_copy(p);
	platform_normalize(copy);
	g_ptr_array_add(m->platforms, copy);
}

/* The same OS with another architecture; variant is taken. */
static void add_like(PlatformMatcher *m, const Platform *p, const char *arch, char *variant)
{
	Platform like = *p;
	like.architecture = (char *)arch;
	like.variant = variant;
	add(m, &like);
	g_free(variant);
}

/* The number of a variant "v7" (or "7"); 0: it is none. */
static unsigned variant_number(const char *variant)
{
	uint64_t n = 0;
	if (variant != NULL && !parse_u64(variant + (*variant == 'v'), &n))
		return 0;
	return n <= 64 ? (unsigned)n : 0; // nobody has more, and each number becomes a platform
}

static void add_lower_arm(PlatformMatcher *m, const Platform *p, unsigned version)
{
	for (; version >= 5; version--)
		add_like(m, p, "arm", g_strdup_printf("v%u", version));
}

/* v9.x runs what v9.0...x and v8.0...x+5 need (but there is no v8.10), v8.x runs v8.0...x. */
static bool parse_arm64_variant(const char *variant, unsigned *ret_major, unsigned *ret_minor)
{
	if (strlen(variant) < 2 || variant[0] != 'v' || (variant[1] != '8' && variant[1] != '9'))
		return false;
	*ret_major = (unsigned)(variant[1] - '0');
	*ret_minor = 0;
	if (variant[2] == '\0')
		return true;
	if (variant[2] != '.' || !g_ascii_isdigit(variant[3]) || variant[4] != '\0')
		return false;
	*ret_minor = (unsigned)(variant[3] - '0');
	return *ret_major == 8 || *ret_minor <= 7;
}

static void add_arm64_major(PlatformMatcher *m, const Platform *p, unsigned major, unsigned minor)
{
	for (; minor > 0; minor--)
		add_like(m, p, "arm64", g_strdup_printf("v%u.%u", major, minor));
	add_like(m, p, "arm64", g_strdup_printf("v%u", major));
}

static void add_arm64(PlatformMatcher *m, const Platform *p)
{
	unsigned major, minor;
	// a variant nobody knows matches nothing at all, as upstream
	if (!parse_arm64_variant(str_empty(p->variant) ? "v8" : p->variant, &major, &minor))
		return;
	add_arm64_major(m, p, major, minor);
	if (major == 9)
		add_arm64_major(m, p, 8, MIN(minor + 5, 9));
	add_lower_arm(m, p, 8);
}

PlatformMatcher *platform_matcher_only(const Platform *platform)
{
	PlatformMatcher *m = matcher_new(KIND_ORDERED);
	g_auto(Platform) p = {0};
	platform_copy(&p, platform);
	platform_normalize(&p);
	if (strcmp(p.architecture, "arm64") == 0) {
		add_arm64(m, &p);
		return m;
	}
	add(m, &p);
	unsigned version = variant_number(p.variant);
	if (strcmp(p.architecture, "amd64") == 0) {
		for (version--; version >= 1 && version < 64; version--)
			add_like(m, &p, "amd64", g_strdup_printf("v%u", version));
		add_like(m, &p, "386", NULL);
	} else if (strcmp(p.architecture, "arm") == 0 && version > 5) {
		add_lower_arm(m, &p, version - 1);
	}
	return m;
}

PlatformMatcher *platform_matcher_only_strict(const Platform *p)
{
	PlatformMatcher *m = matcher_new(KIND_ORDERED);
	add(m, p);
	return m;
}

PlatformMatcher *platform_matcher_os(const Platform *p)
{
	PlatformMatcher *m = matcher_new(KIND_OS);
	add(m, p);
	return m;
}

PlatformMatcher *platform_matcher_default(void)
{
	g_auto(Platform) host = {0};
	platform_default(&host);
	return platform_matcher_only(&host);
}

static PlatformMatcher *matcher_of(Kind kind, GPtrArray *platforms)
{
	PlatformMatcher *m = matcher_new(kind);
	for (guint i = 0; i < platforms->len; i++)
		add(m, platforms->pdata[i]);
	return m;
}

PlatformMatcher *platform_matcher_ordered(GPtrArray *platforms)
{
	return matcher_of(KIND_ORDERED, platforms);
}

PlatformMatcher *platform_matcher_any(GPtrArray *platforms)
{
	return matcher_of(KIND_ANY, platforms);
}

PlatformMatcher *platform_matcher_all(void)
{
	return matcher_new(KIND_ALL);
}

/* ---- matching ---- */

typedef struct {
	uint64_t major, minor, build;
} WindowsVersion;

/* All zero where it is no version. */
static WindowsVersion windows_version(const char *s)
{
	WindowsVersion v = {0};
	g_auto(GStrv) parts = g_strsplit(str_or(s, ""), ".", 4);
	if (g_strv_length(parts) < 3 || !parse_u64(parts[0], &v.major) || !parse_u64(parts[1], &v.minor) ||
	    !parse_u64(parts[2], &v.build) || v.major > 255 || v.minor > 255 || v.build > 65535)
		return (WindowsVersion){0};
	return v;
}

/* Hosts from Windows Server 2022 on run containers back to the long-term release before them. */
static bool windows_version_matches(const char *host_version, const char *version)
{
	enum { LTSC_2022 = 20348, LTSC_2025 = 26100 };
	WindowsVersion host = windows_version(host_version);
	if ((host.major == 0 && host.minor == 0 && host.build == 0) || str_empty(version))
		return true;
	WindowsVersion v = windows_version(version);
	if (host.major != v.major || host.minor != v.minor)
		return false;
	if (host.build < LTSC_2022)
		return host.build == v.build;
	uint64_t oldest = host.build > LTSC_2025 ? LTSC_2025 : LTSC_2022;
	return oldest <= v.build && v.build <= host.build;
}

/* want and p are normalized. */
static bool one_matches(const Platform *want, const Platform *p, bool ignore_features)
{
	bool windows = strcmp(want->os, "windows") == 0;
	if (strcmp(want->os, p->os) != 0 || strcmp(want->architecture, p->architecture) != 0 ||
	    g_strcmp0(want->variant, p->variant) != 0)
		return false;
	if (windows && !windows_version_matches(want->os_version, p->os_version))
		return false;
	for (char **f = p->os_features; !ignore_features && f != NULL && *f != NULL; f++) {
		if (windows && strcmp(*f, "win32k") == 0)
			continue;
		if (want->os_features == NULL || !g_strv_contains((const char *const *)want->os_features, *f))
			return false;
	}
	return true;
}

static bool os_matches(const PlatformMatcher *m, const Platform *p)
{
	const Platform *want = m->platforms->pdata[0];
	Platform like = *p;
	like.architecture = want->architecture;
	like.variant = want->variant;
	return one_matches(want, &like, false);
}

bool platform_matches(const PlatformMatcher *m, const Platform *platform)
{
	if (m->kind == KIND_ALL)
		return true;
	g_auto(Platform) p = {0};
	platform_copy(&p, platform);
	platform_normalize(&p);
	if (m->kind == KIND_OS)
		return os_matches(m, &p);
	for (guint i = 0; i < m->platforms->len; i++)
		if (one_matches(m->platforms->pdata[i], &p, false))
			return true;
	return false;
}

static guint feature_count(const Platform *p, bool ignore_features)
{
	return ignore_features || p->os_features == NULL ? 0 : g_strv_length(p->os_features);
}

/* a and b are normalized, but for n_a and n_b, the number of features as written. 1: better, 0: not, -1: none
 * of the matcher's platforms matched either. */
static int ordered_less(const PlatformMatcher *m, const Platform *a, guint n_a, const Platform *b, guint n_b,
                        bool ignore_features)
{
	for (guint i = 0; i < m->platforms->len; i++) {
		bool a_matches = one_matches(m->platforms->pdata[i], a, ignore_features);
		bool b_matches = one_matches(m->platforms->pdata[i], b, ignore_features);
		if (a_matches || b_matches)
			return a_matches && (!b_matches || n_a > n_b);
	}
	return -1;
}

static int any_less(const PlatformMatcher *m, const Platform *a, guint n_a, const Platform *b, guint n_b,
                    bool ignore_features)
{
	bool a_matches = false, b_matches = false;
	for (guint i = 0; i < m->platforms->len && !(a_matches && b_matches); i++) {
		a_matches = a_matches || one_matches(m->platforms->pdata[i], a, ignore_features);
		b_matches = b_matches || one_matches(m->platforms->pdata[i], b, ignore_features);
	}
	if (!a_matches && !b_matches)
		return -1;
	return a_matches && (!b_matches || n_a > n_b);
}

bool platform_less(const PlatformMatcher *m, const Platform *platform_a, const Platform *platform_b)
{
	g_auto(Platform) a = {0}, b = {0};
	if (m->kind == KIND_ALL)
		return false;
	platform_copy(&a, platform_a);
	platform_copy(&b, platform_b);
	platform_normalize(&a);
	platform_normalize(&b);
	if (m->kind == KIND_OS && (!os_matches(m, &a) || !os_matches(m, &b)))
		return os_matches(m, &a);
	int (*less)(const PlatformMatcher *, const Platform *, guint, const Platform *, guint, bool) =
	        m->kind == KIND_ANY ? any_less : ordered_less;
	int r = less(m, &a, feature_count(platform_a, false), &b, feature_count(platform_b, false), false);
	// where neither matches, once more without the features
	if (r < 0)
		r = less(m, &a, 0, &b, 0, true);
	return r > 0;
}
