// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include <string.h>
#include <sys/mman.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void check_bad(const char *digest, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(digest_validate(digest, &error));
	g_assert_cmpstr(error->message, ==, text);
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
}

static void test_validate(void)
{
	g_autofree char *hex96 = g_strnfill(96, 'a'), *hex128 = g_strnfill(128, '0');
	g_autofree char *sha384 = g_strconcat("sha384:", hex96, NULL),
	                *sha512 = g_strconcat("sha512:", hex128, NULL);
	g_assert_true(digest_validate("sha256:" EMPTY_SHA256, NULL));
	g_assert_true(digest_validate(sha384, NULL));
	g_assert_true(digest_validate(sha512, NULL));

	const char *format = "invalid checksum digest format", *length = "invalid checksum digest length",
	           *unsupported = "unsupported digest algorithm";
	check_bad(NULL, format);
	check_bad("", format);
	check_bad(":", format);
	check_bad("sha256", format);
	check_bad("sha256:", format);
	check_bad(":" EMPTY_SHA256, format);
	check_bad(EMPTY_SHA256, format);
	check_bad("sha256:abcdef0123456789", length);
	check_bad("sha256:" EMPTY_SHA256 "0", length);
	check_bad("sha512:" EMPTY_SHA256, length);
	check_bad("sha256:E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", format);
	check_bad("sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", format);
	check_bad("sha256:../../../../../../../../../../../../../../../../../../../../../x", format);
	check_bad("bean:0123456789abcdef", unsupported);
	check_bad("md5:d41d8cd98f00b204e9800998ecf8427e", unsupported);
	check_bad("sha256+b64:abc=", unsupported);
	check_bad("SHA256:" EMPTY_SHA256, format);
	check_bad("a..b:00", format);
	check_bad("a.:00", format);
	check_bad("ab:0/0", format);
}

static void test_parts(void)
{
	g_autofree char *algorithm = digest_algorithm("sha256:" EMPTY_SHA256);
	g_assert_cmpstr(algorithm, ==, "sha256");
	g_assert_cmpstr(digest_hex("sha256:" EMPTY_SHA256), ==, EMPTY_SHA256);
}

static void check_hash(const char *algorithm, const char *text, const char *hex)
{
	g_autoptr(Digester) d = digester_new(algorithm);
	digester_update(d, text, strlen(text));
	g_autofree char *got = digester_digest(d), *expected = g_strdup_printf("%s:%s", algorithm, hex);
	g_assert_cmpstr(got, ==, expected);
	g_assert_true(digest_validate(got, NULL));
}

static void test_hash(void)
{
	check_hash("sha256", "", EMPTY_SHA256);
	check_hash("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check_hash("sha384", "abc",
	           "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
	           "8086072ba1e7cc2358baeca134c825a7");
	check_hash("sha512", "abc",
	           "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
	           "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
	g_assert_null(digester_new("md5"));
	g_assert_null(digester_new(""));
}

static void test_running(void)
{
	g_autoptr(Digester) d = digester_new("sha256");
	digester_update(d, "a", 1);
	g_autoptr(Digester) copy = digester_copy(d);
	g_free(digester_digest(d)); // looking does not end it
	digester_update(d, "bc", 2);
	digester_update(copy, "bc", 2);
	g_autofree char *one = digester_digest(d), *other = digester_digest(copy),
	                *whole = digest_bytes("abc", 3);
	g_assert_cmpstr(one, ==, whole);
	g_assert_cmpstr(other, ==, whole);
}

static void test_fd(void)
{
	autofd fd = memfd_create("x", MFD_CLOEXEC);
	g_autofree char *data = g_strnfill(300000, 'q');
	g_assert_true(fd_write_all(fd, data, 300000, NULL));
	g_autoptr(GError) error = NULL;
	g_autofree char *got = digest_fd(fd, &error), *expected = digest_bytes(data, 300000);
	g_assert_no_error(error);
	g_assert_cmpstr(got, ==, expected);
	g_assert_null(digest_fd(-1, &error));
	g_assert_cmpstr(error->message, ==, "seek: bad file descriptor");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/digest/validate", test_validate);
	g_test_add_func("/digest/parts", test_parts);
	g_test_add_func("/digest/hash", test_hash);
	g_test_add_func("/digest/running", test_running);
	g_test_add_func("/digest/fd", test_fd);
	return g_test_run();
}
