// SPDX-License-Identifier: Apache-2.0
#include "oci/platform.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include <ctype.h>
#include <pthread.h>
#include <string.h>
#include <sys/utsname.h>

#define OS_PATTERN "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$"
#define PART_PATTERN "^[A-Za-z0-9_.-]+$"
#define FEATURES_MAX 64

#define HOST_OS "linux"
#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#elif defined(__arm__)
#define HOST_ARCH "arm"
#elif defined(__i386__)
#define HOST_ARCH "386"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_ARCH "riscv64"
#elif defined(__s390x__)
#define HOST_ARCH "s390x"
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HOST_ARCH "ppc64le"
#elif defined(__loongarch64)
#define HOST_ARCH "loong64"
#elif defined(__mips64) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HOST_ARCH "mips64le"
#else
#error "no name for this architecture"
#endif

void platform_clear(Platform *p)
{
	g_free(p->os);
	g_free(p->architecture);
	g_free(p->variant);
	g_free(p->os_version);
	g_strfreev(p->os_features);
	*p = (Platform){0};
}

void platform_copy(Platform *ret, const Platform *p)
{
	*ret = (Platform){
	        .os = g_strdup(p->os),
	        .architecture = g_strdup(p->architecture),
	        .variant = g_strdup(p->variant),
	        .os_version = g_strdup(p->os_version),
	        .os_features = g_strdupv(p->os_features),
	};
}

Platform *platform_new_copy(const Platform *p)
{
	if (p == NULL)
		return NULL;
	Platform *copy = g_new(Platform, 1);
	platform_copy(copy, p);
	return copy;
}

void platform_free(Platform *p)
{
	if (p == NULL)
		return;
	platform_clear(p);
	g_free(p);
}

static bool same(const char *a, const char *b)
{
	return strcmp(str_or(a, ""), str_or(b, "")) == 0;
}

static guint n_features(const Platform *p)
{
	return p->os_features != NULL ? g_strv_length(p->os_features) : 0;
}

bool platform_equal(const Platform *a, const Platform *b)
{
	guint n = n_features(a);
	return same(a->os, b->os) && same(a->architecture, b->architecture) && same(a->variant, b->variant) &&
	       same(a->os_version, b->os_version) && n_features(b) == n &&
	       (n == 0 ||
	        g_strv_equal((const char *const *)a->os_features, (const char *const *)b->os_features));
}

/* ---- this machine ---- */

/* The value of the first `key : value` line of /proc/cpuinfo. */
static char *cpuinfo_value(const char *cpuinfo, const char *key)
{
	g_auto(GStrv) lines = g_strsplit(cpuinfo, "\n", -1);
	for (char **line = lines; *line != NULL; line++) {
		g_auto(GStrv) parts = g_strsplit(*line, ":", 3);
		if (parts[0] != NULL && parts[1] != NULL &&
		    g_ascii_strcasecmp(g_strstrip(parts[0]), key) == 0)
			return g_strdup(g_strstrip(parts[1]));
	}
	return NULL;
}

/* "8", "7"... of a machine name such as armv7l. */
static char *variant_of_machine(const char *machine)
{
	if (g_ascii_strcasecmp(machine, "aarch64") == 0)
		return g_strdup("8");
	if (g_ascii_strncasecmp(machine, "armv", 4) == 0 && machine[4] >= '3' && machine[4] <= '8')
		return g_strndup(machine + 4, 1);
	return g_strdup("unknown");
}

static char cpu_variant[16];

static void find_cpu_variant(void)
{
	static const struct {
		const char *value, *variant;
	} known[] = {{"8", "v8"},     {"aarch64", "v8"}, {"7", "v7"},     {"7m", "v7"},    {"?(12)", "v7"},
	             {"?(13)", "v7"}, {"?(14)", "v7"},   {"?(15)", "v7"}, {"?(16)", "v7"}, {"?(17)", "v7"},
	             {"6", "v6"},     {"6tej", "v6"},    {"5", "v5"},     {"5t", "v5"},    {"5te", "v5"},
	             {"5tej", "v5"},  {"4", "v4"},       {"4t", "v4"},    {"3", "v3"}};
	g_autofree char *cpuinfo = NULL, *value = NULL, *model = NULL;
	if (strcmp(HOST_ARCH, "arm") != 0 && strcmp(HOST_ARCH, "arm64") != 0)
		return;
	if (!file_read("/proc/cpuinfo", 1 << 20, &cpuinfo, NULL, NULL))
		cpuinfo = g_strdup("");
	value = cpuinfo_value(cpuinfo, "Cpu architecture");
	if (value == NULL) {
		struct utsname uts;
		uname(&uts);
		value = variant_of_machine(uts.machine);
	}
	// a Raspberry Pi of the first kind says 7
	model = cpuinfo_value(cpuinfo, "model name");
	if (strcmp(HOST_ARCH, "arm") == 0 && strcmp(value, "7") == 0 && model != NULL &&
	    g_ascii_strncasecmp(model, "armv6-compatible", strlen("armv6-compatible")) == 0)
		value[0] = '6';
	g_strlcpy(cpu_variant, "unknown", sizeof(cpu_variant));
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (g_ascii_strcasecmp(value, known[i].value) == 0)
			g_strlcpy(cpu_variant, known[i].variant, sizeof(cpu_variant));
}

static const char *host_variant(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, find_cpu_variant);
	return cpu_variant;
}

void platform_default(Platform *ret)
{
	*ret = (Platform){
	        .os = g_strdup(HOST_OS),
	        .architecture = g_strdup(HOST_ARCH),
	        .variant = *host_variant() != '\0' ? g_strdup(host_variant()) : NULL,
	};
}

/* ---- canonical names ---- */

static void replace(char **s, const char *with)
{
	g_free(*s);
	*s = g_strdup(with);
}

static void normalize_os(char **os)
{
	g_autofree char *lower = g_utf8_strdown(str_or(*os, ""), -1);
	replace(os, str_empty(lower) ? HOST_OS : strcmp(lower, "macos") == 0 ? "darwin" : lower);
}

static void normalize_arch(char **arch, char **variant)
{
	g_autofree char *a = g_utf8_strdown(str_or(*arch, ""), -1),
	                *v = g_utf8_strdown(str_or(*variant, ""), -1);
	// {from, variant or NULL for any, to, variant or NULL to keep}; the first match counts
	static const char *const table[][4] = {
	        {"i386", NULL, "386", ""},         {"x86_64", "v1", "amd64", ""},
	        {"x86_64", NULL, "amd64", NULL},   {"x86-64", "v1", "amd64", ""},
	        {"x86-64", NULL, "amd64", NULL},   {"amd64", "v1", "amd64", ""},
	        {"aarch64", "8", "arm64", ""},     {"aarch64", "v8", "arm64", ""},
	        {"aarch64", "v8.0", "arm64", ""},  {"aarch64", "9", "arm64", "v9"},
	        {"aarch64", "9.0", "arm64", "v9"}, {"aarch64", "v9.0", "arm64", "v9"},
	        {"aarch64", NULL, "arm64", NULL},  {"arm64", "8", "arm64", ""},
	        {"arm64", "v8", "arm64", ""},      {"arm64", "v8.0", "arm64", ""},
	        {"arm64", "9", "arm64", "v9"},     {"arm64", "9.0", "arm64", "v9"},
	        {"arm64", "v9.0", "arm64", "v9"},  {"armhf", NULL, "arm", "v7"},
	        {"armel", NULL, "arm", "v6"},      {"arm", "", "arm", "v7"},
	        {"arm", "7", "arm", "v7"},         {"arm", "5", "arm", "v5"},
	        {"arm", "6", "arm", "v6"},         {"arm", "8", "arm", "v8"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		const char *const *row = table[i];
		if (strcmp(a, row[0]) == 0 && (row[1] == NULL || strcmp(v, row[1]) == 0)) {
			replace(&a, row[2]);
			if (row[3] != NULL)
				replace(&v, row[3]);
			break;
		}
	}
	replace(arch, a);
	replace(variant, *v != '\0' ? v : NULL);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void normalize_features(char **features)
{
	guint n = features != NULL ? g_strv_length(features) : 0, kept = 0;
	if (n == 0)
		return;
	qsort(features, n, sizeof(char *), compare_strings);
	for (guint i = 0; i < n; i++) {
		if (kept > 0 && strcmp(features[kept - 1], features[i]) == 0)
			g_free(features[i]);
		else
			features[kept++] = features[i];
	}
	features[kept] = NULL;
}

void platform_normalize(Platform *p)
{
	normalize_os(&p->os);
	normalize_arch(&p->architecture, &p->variant);
	normalize_features(p->os_features);
}

/* ---- specifiers ---- */

/* Decodes %XX; NULL and an error with Go's text where it is none. */
static char *unescape(const char *s, GError **error)
{
	GString *out = g_string_new(NULL);
	for (; *s != '\0'; s++) {
		if (*s != '%') {
			g_string_append_c(out, *s);
			continue;
		}
		int value = g_ascii_isxdigit(s[1]) && g_ascii_isxdigit(s[2])
		                    ? g_ascii_xdigit_value(s[1]) * 16 + g_ascii_xdigit_value(s[2])
		                    : 0;
		if (value == 0) {
			g_autofree char *bad = g_strndup(s, 3);
			error_set(error, CTRD_ERR_UNKNOWN, "invalid URL escape %s", Q(bad));
			g_string_free(out, TRUE);
			return NULL;
		}
		g_string_append_c(out, (char)value);
		s += 2;
	}
	return g_string_free(out, FALSE);
}

static size_t span_word(const char *s, const char *others)
{
	size_t n = 0;
	while (g_ascii_isalnum(s[n]) || (s[n] != '\0' && strchr(others, s[n]) != NULL))
		n++;
	return n;
}

/* `linux`, `windows(10.0.17763+win32k)`. */
static bool parse_os(const char *part, const char *specifier, Platform *p, GError **error)
{
	size_t len = span_word(part, "_-");
	const char *options = part + len;
	g_autofree char *version = NULL;
	g_autoptr(GPtrArray) features = g_ptr_array_new_with_free_func(g_free);
	bool ok = len > 0;
	if (ok && *options == '(') {
		size_t n = span_word(options + 1, "_.%-");
		version = g_strndup(options + 1, n);
		options += 1 + n;
		while (ok && *options == '+') {
			n = span_word(options + 1, "_.%-");
			ok = n > 0 && features->len < FEATURES_MAX;
			g_ptr_array_add(features, g_strndup(options + 1, n));
			options += 1 + n;
		}
		ok = ok && *options == ')';
		options += *options == ')';
	}
	if (!ok || *options != '\0')
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "%s is an invalid OS component of %s: OSAndVersion specifier component must "
		                 "match %s: "
		                 "invalid argument",
		                 Q(part), Q(specifier), Q(OS_PATTERN));
	p->os = g_strndup(part, len);
	normalize_os(&p->os);
	if (!str_empty(version) && (p->os_version = unescape(version, error)) == NULL)
		return error_prefix(error, "%s has an invalid OS version %s", Q(specifier), Q(version));
	for (guint i = 0; i < features->len; i++) {
		char *decoded = unescape(features->pdata[i], error);
		if (decoded == NULL)
			return error_prefix(error, "%s has invalid OS features: invalid os feature %s",
			                    Q(specifier), Q((char *)features->pdata[i]));
		g_free(features->pdata[i]);
		features->pdata[i] = decoded;
	}
	if (features->len > 0) {
		g_ptr_array_add(features, NULL);
		p->os_features = (char **)g_ptr_array_free(g_steal_pointer(&features), FALSE);
	}
	return true;
}

static bool is_known_os(const char *os)
{
	static const char *const known[] = {"aix",     "android", "darwin",  "dragonfly", "freebsd", "hurd",
	                                    "illumos", "ios",     "js",      "linux",     "nacl",    "netbsd",
	                                    "openbsd", "plan9",   "solaris", "windows",   "zos",     NULL};
	return g_strv_contains(known, os);
}

static bool is_known_arch(const char *arch)
{
	static const char *const known[] = {"386",         "amd64",   "amd64p32", "arm",      "armbe",
	                                    "arm64",       "arm64be", "ppc64",    "ppc64le",  "loong64",
	                                    "mips",        "mipsle",  "mips64",   "mips64le", "mips64p32",
	                                    "mips64p32le", "ppc",     "riscv",    "riscv64",  "s390",
	                                    "s390x",       "sparc",   "sparc64",  "wasm",     NULL};
	return g_strv_contains(known, arch);
}

static void set_arch(Platform *p, const char *arch, const char *variant)
{
	replace(&p->architecture, arch);
	replace(&p->variant, variant);
	normalize_arch(&p->architecture, &p->variant);
}

static bool is_arm_v7(const Platform *p)
{
	return same(p->architecture, "arm") && same(p->variant, "v7");
}

/* One part only: an OS, or else an architecture. */
static bool parse_single(const char *part, const char *specifier, Platform *p, GError **error)
{
	if (is_known_os(p->os)) {
		replace(&p->architecture, HOST_ARCH);
		if (strcmp(HOST_ARCH, "arm") == 0 && strcmp(host_variant(), "v7") != 0)
			replace(&p->variant, host_variant());
		return true;
	}
	set_arch(p, part, NULL);
	if (is_arm_v7(p))
		replace(&p->variant, NULL);
	if (!is_known_arch(p->architecture))
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "%s: unknown operating system or architecture: invalid argument",
		                 Q(specifier));
	replace(&p->os, HOST_OS);
	return true;
}

bool platform_parse(const char *specifier, Platform *ret, GError **error)
{
	g_auto(Platform) p = {0};
	if (strchr(specifier, '*') != NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "%s: wildcards not yet supported: invalid argument",
		                 Q(specifier));
	g_auto(GStrv) parts = g_strsplit(specifier, "/", 4);
	if (!parse_os(parts[0] != NULL ? parts[0] : "", specifier, &p, error))
		return false;
	for (char **part = parts + 1; *part != NULL; part++) {
		size_t len = span_word(*part, "_.-");
		if (len == 0 || (*part)[len] != '\0')
			return error_set(error, CTRD_ERR_UNKNOWN,
			                 "%s is an invalid component of %s: platform specifier component "
			                 "must match %s: "
			                 "invalid argument",
			                 Q(*part), Q(specifier), Q(PART_PATTERN));
	}
	switch (g_strv_length(parts)) {
	case 1:
		if (!parse_single(parts[0], specifier, &p, error))
			return false;
		break;
	case 2:
		set_arch(&p, parts[1], NULL);
		if (is_arm_v7(&p))
			replace(&p.variant, NULL);
		break;
	case 3:
		set_arch(&p, parts[1], parts[2]);
		if (same(p.architecture, "arm64") && str_empty(p.variant))
			replace(&p.variant, "v8");
		break;
	default:
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "%s: cannot parse platform specifier: invalid argument", Q(specifier));
	}
	*ret = p;
	p = (Platform){0};
	return true;
}

static void free_platform(gpointer p)
{
	platform_free(p);
}

GPtrArray *platforms_parse(const char *const *specifiers, GError **error)
{
	g_autoptr(GPtrArray) platforms = g_ptr_array_new_with_free_func(free_platform);
	for (; specifiers != NULL && *specifiers != NULL; specifiers++) {
		g_autoptr(Platform) p = g_new0(Platform, 1);
		if (!platform_parse(*specifiers, p, error)) {
			error_prefix(error, "invalid platform %s", *specifiers);
			return NULL;
		}
		g_ptr_array_add(platforms, g_steal_pointer(&p));
	}
	return g_steal_pointer(&platforms);
}

/* Joins with slashes and cleans as Go's path.Join. */
static char *join_parts(const char *os, const Platform *p)
{
	g_autofree char *joined =
	        g_strjoin(NULL, os, str_empty(p->architecture) ? "" : "/", str_or(p->architecture, ""),
	                  str_empty(p->variant) ? "" : "/", str_or(p->variant, ""), NULL);
	return path_clean(joined);
}

char *platform_format(const Platform *p)
{
	return str_empty(p->os) ? g_strdup("unknown") : join_parts(p->os, p);
}

static void append_escaped(GString *out, const char *s)
{
	for (; *s != '\0'; s++) {
		if (strchr("%+()/", *s) != NULL)
			g_string_append_printf(out, "%%%02X", (unsigned)*s);
		else
			g_string_append_c(out, *s);
	}
}

char *platform_format_all(const Platform *p)
{
	if (str_empty(p->os))
		return g_strdup("unknown");
	g_autoptr(GString) os = g_string_new(p->os);
	g_auto(GStrv) features = g_strdupv(p->os_features);
	normalize_features(features);
	bool open = !str_empty(p->os_version);
	if (open) {
		g_string_append_c(os, '(');
		append_escaped(os, p->os_version);
	}
	for (char **f = features; f != NULL && *f != NULL; f++) {
		if (**f == '\0')
			continue;
		g_string_append(os, open ? "+" : "(+");
		append_escaped(os, *f);
		open = true;
	}
	if (open)
		g_string_append_c(os, ')');
	return join_parts(os->str, p);
}

/* ---- JSON ---- */

static bool get_string(JsonObject *o, const char *key, char **ret, GError **error)
{
	JsonObject *value = json_get(o, key);
	if (value != NULL && !json_object_is_type(value, json_type_string))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "platform: %s is not a string",
		                       Q(key));
	const char *s = value != NULL ? json_object_get_string(value) : "";
	*ret = *s != '\0' ? g_strdup(s) : NULL;
	return true;
}

bool platform_from_json(JsonObject *o, Platform *ret, GError **error)
{
	g_auto(Platform) p = {0};
	if (o == NULL || !json_object_is_type(o, json_type_object))
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "platform: not an object");
	if (!get_string(o, "os", &p.os, error) || !get_string(o, "architecture", &p.architecture, error) ||
	    !get_string(o, "variant", &p.variant, error) ||
	    !get_string(o, "os.version", &p.os_version, error))
		return false;
	if (!json_get_strv(o, "os.features", &p.os_features, error))
		return error_prefix(error, "platform");
	if (n_features(&p) > FEATURES_MAX)
		return error_set_class(error, CTRD_ERR_INVALID_ARGUMENT, "platform: more than %d os.features",
		                       FEATURES_MAX);
	*ret = p;
	p = (Platform){0};
	return true;
}

JsonObject *platform_to_json(const Platform *p)
{
	JsonObject *o = json_object_new_object();
	json_set_string(o, "architecture", str_or(p->architecture, ""));
	json_set_string(o, "os", str_or(p->os, ""));
	json_set_string(o, "os.version", str_empty(p->os_version) ? NULL : p->os_version);
	if (n_features(p) > 0) {
		JsonObject *features = json_object_new_array();
		for (char **f = p->os_features; *f != NULL; f++)
			json_object_array_add(features, json_object_new_string(*f));
		json_set(o, "os.features", features);
	}
	json_set_string(o, "variant", str_empty(p->variant) ? NULL : p->variant);
	return o;
}
