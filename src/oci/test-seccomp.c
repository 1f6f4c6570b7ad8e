// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/util.h"
#include "oci/apparmor.h"
#include "oci/seccomp.h"
#include <string.h>

static JsonObject *profile_for(const char *caps)
{
	g_autofree char *text = g_strdup_printf("{\"process\":{\"capabilities\":{\"bounding\":[%s]}}}", caps);
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) spec = json_parse(text, strlen(text), 0, &error);
	g_assert_no_error(error);
	return seccomp_default_profile(spec);
}

/* The rules in which the name stands, as compact text. */
static char *rules_of(JsonObject *profile, const char *name)
{
	JsonObject *rules = json_get_array(profile, "syscalls");
	GString *out = g_string_new(NULL);
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		JsonObject *rule = json_object_array_get_idx(rules, i);
		g_auto(GStrv) names = NULL;
		g_assert_true(json_get_strv(rule, "names", &names, NULL));
		if (!g_strv_contains((const char *const *)names, name))
			continue;
		JsonObject *args = json_get(rule, "args");
		g_autofree char *text = args != NULL ? json_to_text(args) : g_strdup("[]");
		int64_t errno_ret;
		g_string_append_printf(out, "%s %s", json_get_string(rule, "action") + strlen("SCMP_ACT_"),
		                       text);
		if (json_get_int64(rule, "errnoRet", &errno_ret))
			g_string_append_printf(out, " %d", (int)errno_ret);
		g_string_append_c(out, '\n');
	}
	return g_string_free(out, FALSE);
}

static void check(JsonObject *profile, const char *name, const char *expected)
{
	g_autofree char *got = rules_of(profile, name);
	g_assert_cmpstr(got, ==, expected);
}

static void test_default(void)
{
	g_autoptr(JsonObject) p = profile_for("\"CAP_CHOWN\",\"CAP_SYS_CHROOT\"");
	g_assert_cmpstr(json_get_string(p, "defaultAction"), ==, "SCMP_ACT_ERRNO");
	check(p, "read", "ALLOW []\n");
	check(p, "writev", "ALLOW []\n");
	check(p, "chroot", "ALLOW []\n");
	check(p, "mount", "");
	check(p, "bpf", "");
	check(p, "io_uring_setup", "");
	check(p, "keyctl", "");
	check(p, "clone3", "ERRNO [] 38\n");
#ifndef __s390x__
	check(p, "clone", "ALLOW [{\"index\":0,\"value\":2114060288,\"op\":\"SCMP_CMP_MASKED_EQ\"}]\n");
#endif
	// all but 38 (AF_ALG) and 40 (AF_VSOCK)
	check(p, "socket",
	      "ALLOW [{\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_LT\"}]\n"
	      "ALLOW [{\"index\":0,\"value\":39,\"op\":\"SCMP_CMP_EQ\"}]\n"
	      "ALLOW [{\"index\":0,\"value\":40,\"op\":\"SCMP_CMP_GT\"}]\n");
	g_autofree char *personality = rules_of(p, "personality");
	g_assert_nonnull(strstr(personality, "\"value\":4294967295"));
#ifdef __x86_64__
	g_autofree char *arches = json_to_text(json_get(p, "architectures"));
	g_assert_cmpstr(arches, ==, "[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]");
	check(p, "arch_prctl", "ALLOW []\n");
#endif
}

static void test_admin(void)
{
	g_autoptr(JsonObject) p = profile_for("\"CAP_SYS_ADMIN\",\"CAP_SYSLOG\",\"CAP_UNKNOWN\",7,null");
	check(p, "mount", "ALLOW []\n");
	check(p, "clone", "ALLOW []\n");
	check(p, "clone3", "ALLOW []\n");
	check(p, "syslog", "ALLOW []\nALLOW []\n");
	check(p, "reboot", "");
	// a spec that says nothing about capabilities
	g_autoptr(JsonObject) empty = json_object_new_object();
	g_autoptr(JsonObject) q = seccomp_default_profile(empty);
	check(q, "mount", "");
}

static void test_apparmor(void)
{
	g_autofree char *text = apparmor_default_profile("cri-containerd.apparmor.d");
	g_assert_nonnull(strstr(
	        text, "\nprofile cri-containerd.apparmor.d flags=(attach_disconnected,mediate_deleted) {\n"));
	g_assert_nonnull(strstr(text, "  signal (send,receive) peer=cri-containerd.apparmor.d,\n"));
	g_assert_nonnull(strstr(text, "  deny /sys/devices/virtual/powercap/** rwklx,\n"));
	g_assert_null(strstr(text, "@NAME@"));
	g_assert_null(strstr(text, "@DAEMON@"));
	g_assert_null(strstr(text, "@ROOTLESSKIT@"));
	g_assert_true(g_str_has_suffix(text, "}\n"));
	g_autoptr(GError) error = NULL;
	g_assert_false(apparmor_load_default("x {\n", &error));
	g_assert_cmpstr(error->message, ==, "apparmor profile name \"x {\\n\": invalid argument");
	g_assert_false(apparmor_load_default("", NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/seccomp/default", test_default);
	g_test_add_func("/seccomp/admin", test_admin);
	g_test_add_func("/seccomp/apparmor", test_apparmor);
	return g_test_run();
}
