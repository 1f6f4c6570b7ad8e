// SPDX-License-Identifier: Apache-2.0

#include "shim/args.h"

static void parse(const char *line, Args *ret, GError **error)
{
	g_auto(GStrv) argv = g_strsplit(line, " ", -1);
	args_parse((int)g_strv_length(argv), argv, ret, error);
}

static void test_daemons(void)
{
	g_auto(Args) a = {0}, b = {0};
	g_autoptr(GError) error = NULL;
	parse("shim -namespace ns -address /a.sock -publish-binary /c -id x -bundle /b -debug start", &a,
	      &error);
	g_assert_no_error(error);
	g_assert_cmpstr(a.ns, ==, "ns");
	g_assert_cmpstr(a.address, ==, "/a.sock");
	g_assert_cmpstr(a.publish_binary, ==, "/c");
	g_assert_cmpstr(a.id, ==, "x");
	g_assert_cmpstr(a.bundle, ==, "/b");
	g_assert_true(a.debug);
	g_assert_cmpstr(a.action, ==, "start");
	parse("shim --namespace=ns -debug=false --id= -- -x", &b, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(b.ns, ==, "ns");
	g_assert_cmpstr(b.id, ==, "");
	g_assert_false(b.debug);
	g_assert_cmpstr(b.action, ==, "-x");
}

static void test_ends_at_action(void)
{
	g_auto(Args) a = {0};
	g_autoptr(GError) error = NULL;
	parse("shim -v delete -nonsense", &a, &error);
	g_assert_no_error(error);
	g_assert_true(a.version);
	g_assert_cmpstr(a.action, ==, "delete");
}

static void test_errors(void)
{
	static const char *const cases[][2] = {
	        {"shim -nope", "flag provided but not defined: -nope"},
	        {"shim -id", "flag needs an argument: -id"},
	        {"shim -debug=maybe", "invalid boolean value \"maybe\" for -debug: parse error"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(Args) a = {0};
		g_autoptr(GError) error = NULL;
		parse(cases[i][0], &a, &error);
		g_assert_nonnull(error);
		g_assert_cmpstr(error->message, ==, cases[i][1]);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/args/daemons", test_daemons);
	g_test_add_func("/args/ends-at-action", test_ends_at_action);
	g_test_add_func("/args/errors", test_errors);
	return g_test_run();
}
