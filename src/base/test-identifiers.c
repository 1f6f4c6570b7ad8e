// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/identifiers.h"
#include "base/util.h"

static void test_valid(void)
{
	static const char *const good[] = {"default",
	                                   "Default",
	                                   "default-default",
	                                   "containerd.io",
	                                   "foo.boo",
	                                   "swarmkit.docker.io",
	                                   "0912341234",
	                                   "task.0.0123456789",
	                                   "container.system-75-f19a.00",
	                                   "underscores_are_allowed",
	                                   "a",
	                                   "0",
	                                   "xn--tiq49xqyj-x"};
	for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;
		// two separators in a row are not allowed, so that punycode is not
		bool ok = identifier_validate(good[i], &error);
		g_assert_cmpint(ok, ==, i != G_N_ELEMENTS(good) - 1);
	}
	g_autofree char *longest = g_strnfill(IDENTIFIER_MAX, 'a');
	g_assert_true(identifier_validate(longest, NULL));
}

static void test_invalid(void)
{
	static const char *const bad[] = {".foo..foo",
	                                  "foo/foo",
	                                  "foo/..",
	                                  "foo..foo",
	                                  "foo.-boo",
	                                  "-foo.boo",
	                                  "foo.boo-",
	                                  "foo_foo.boo_underscores!",
	                                  "but__only_tasteful_underscores",
	                                  "..",
	                                  ".",
	                                  "-",
	                                  "a b",
	                                  "a\n",
	                                  "\xc3\xa9"};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_false(identifier_validate(bad[i], &error));
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
		g_autofree char *text =
		        g_strdup_printf("identifier %s must match "
		                        "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument",
		                        Q(bad[i]));
		g_assert_cmpstr(error->message, ==, text);
	}
	g_autoptr(GError) error = NULL;
	g_assert_false(identifier_validate("", &error));
	g_assert_cmpstr(error->message, ==, "identifier must not be empty: invalid argument");
	g_clear_error(&error);
	g_assert_false(identifier_validate(NULL, &error));
	g_clear_error(&error);
	g_autofree char *too_long = g_strnfill(IDENTIFIER_MAX + 1, 'a');
	g_assert_false(identifier_validate(too_long, &error));
	g_autofree char *text = g_strdup_printf(
	        "identifier %s greater than maximum length (76 characters): invalid argument", Q(too_long));
	g_assert_cmpstr(error->message, ==, text);
}

static void test_labels(void)
{
	g_autoptr(GHashTable) labels = strmap_new();
	g_assert_true(labels_validate(NULL, NULL));
	strmap_set(labels, "k", "v");
	g_assert_true(labels_validate(labels, NULL));
	g_autofree char *value = g_strnfill(LABEL_MAX - 1, 'v');
	strmap_set(labels, "k", value);
	g_assert_true(labels_validate(labels, NULL));
	strmap_set(labels, "kk", value);
	g_autoptr(GError) error = NULL;
	g_assert_false(labels_validate(labels, &error));
	g_assert_cmpstr(
	        error->message, ==,
	        "label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: kk: "
	        "invalid argument");
	g_clear_error(&error);
	g_autofree char *key = g_strnfill(5000, 'k'), *shown = g_strnfill(64, 'k');
	g_assert_false(label_validate(key, "", &error));
	g_autofree char *text =
	        g_strdup_printf("label key and value length (5000 bytes) greater than maximum size "
	                        "(4096 bytes), key: %s: invalid argument",
	                        shown);
	g_assert_cmpstr(error->message, ==, text);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/identifiers/valid", test_valid);
	g_test_add_func("/identifiers/invalid", test_invalid);
	g_test_add_func("/identifiers/labels", test_labels);
	return g_test_run();
}
