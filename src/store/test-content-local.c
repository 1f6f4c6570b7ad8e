// SPDX-License-Identifier: Apache-2.0
#include "loop/thread.h"
#include "store/content-suite.h"
#include "store/test-env.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static ContentStore *open_store(const char *dir)
{
	g_autoptr(GError) error = NULL;
	ContentStore *s = content_local_new(dir, &error);
	g_assert_no_error(error);
	return s;
}

static ContentStore *suite_open(const char *dir, void **ret_state)
{
	return open_store(dir);
}

static void suite_close(ContentStore *s, void *state)
{
	content_store_free(s);
}

static const ContentSuite suite = {.name = "local", .open = suite_open, .close = suite_close};

static const Ctx ctx = {0};

static ContentWriter *open_writer(ContentStore *s, const char *ref, int64_t size)
{
	g_autoptr(GError) error = NULL;
	ContentWriter *w = content_writer(s, &ctx, ref, &(Descriptor){.size = size}, &error);
	g_assert_no_error(error);
	return w;
}

static int64_t offset_of(ContentWriter *w)
{
	g_autoptr(ContentStatus) status = NULL;
	g_assert_true(content_writer_status(w, &status, NULL));
	return status->offset;
}

static mode_t mode_of(const char *path)
{
	struct stat st;
	g_assert_cmpint(stat(path, &st), ==, 0);
	return st.st_mode & 07777;
}

/* What tools that look into the directory expect. */
static void test_layout(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autofree char *root = g_build_filename(dir, "content", NULL);
	ContentStore *s = open_store(root);
	ContentWriter *w = open_writer(s, "myref", 12);
	g_autofree char *ref_digest = digest_bytes("myref", 5);
	g_autofree char *ingest = g_strdup_printf("%s/ingest/%s", root, digest_hex(ref_digest));
	static const char *const files[] = {"data", "ref", "startedat", "updatedat", "total"};
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *file = g_build_filename(ingest, files[i], NULL);
		g_assert_true(path_exists(file));
	}
	g_autofree char *ref_file = g_build_filename(ingest, "ref", NULL), *ref = NULL;
	g_assert_true(g_file_get_contents(ref_file, &ref, NULL, NULL));
	g_assert_cmpstr(ref, ==, "myref");
	g_autofree char *total_file = g_build_filename(ingest, "total", NULL), *total = NULL;
	g_assert_true(g_file_get_contents(total_file, &total, NULL, NULL));
	g_assert_cmpstr(total, ==, "12");
	g_assert_true(content_write(w, "twelve bytes", 12, NULL));
	g_assert_true(content_commit(w, &ctx, 12, NULL, NULL, NULL));
	g_autofree char *digest = content_writer_digest(w);
	g_autofree char *blob = g_strdup_printf("%s/blobs/sha256/%s", root, digest_hex(digest));
	g_assert_cmpuint(mode_of(blob) & 0333, ==, 0);
	g_assert_cmpuint(mode_of(blob) & 0400, ==, 0400);
	g_assert_false(path_exists(ingest));
	content_writer_close(w);
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

static void test_texts(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	ContentStore *s = open_store(dir);
	ContentWriter *w = open_writer(s, "myref", 0);
	g_assert_null(content_writer(s, &ctx, "myref", NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_UNAVAILABLE));
	g_assert_true(g_regex_match_simple("^ref myref locked for [0-9.]+(ns|µs|ms|s) \\(since "
	                                   "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+ \\+0000 UTC\\): unavailable$",
	                                   error->message, 0, 0));
	g_clear_error(&error);
	g_assert_true(content_write(w, "abc", 3, NULL));
	g_assert_false(content_commit(w, &ctx, 4, NULL, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION,
	             "unexpected commit size 3, expected 4: failed precondition");
	g_assert_false(content_commit(w, &ctx, 3, NULL, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION,
	             "cannot commit on closed writer: failed precondition");
	content_writer_close(w);
	w = open_writer(s, "myref", 0);
	static const char other[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	g_autofree char *digest = digest_bytes("abc", 3);
	g_autofree char *text = g_strdup_printf(
	        "unexpected commit digest %s, expected %s: failed precondition", digest, other);
	g_assert_false(content_commit(w, &ctx, 0, other, NULL, &error));
	assert_error(error, CTRD_ERR_FAILED_PRECONDITION, text);
	content_writer_close(w);
	w = open_writer(s, "myref", 0);
	g_assert_false(content_truncate(w, 1, &error));
	assert_error(error, CTRD_ERR_UNKNOWN, "Truncate: unsupported size");
	g_assert_true(content_commit(w, &ctx, 0, digest, NULL, &error));
	content_writer_close(w);
	Descriptor desc = {.digest = digest};
	g_assert_null(content_writer(s, &ctx, "again", &desc, &error));
	g_autofree char *exists = g_strdup_printf("content %s: already exists", digest);
	assert_error(error, CTRD_ERR_ALREADY_EXISTS, exists);
	desc.digest = (char *)other;
	g_assert_null(content_reader(s, &ctx, &desc, &error));
	g_autofree char *missing = g_strdup_printf(
	        "blob %s expected at %s/blobs/sha256/%s: blob not found: not found", other, dir, other + 7);
	assert_error(error, CTRD_ERR_NOT_FOUND, missing);
	g_assert_null(content_info(s, &ctx, other, &error));
	g_autofree char *no_info = g_strdup_printf("content %s: not found", other);
	assert_error(error, CTRD_ERR_NOT_FOUND, no_info);
	g_assert_null(content_info(s, &ctx, "sha256:../../etc/passwd", &error));
	assert_error(
	        error, CTRD_ERR_INVALID_ARGUMENT,
	        "cannot calculate blob path from invalid digest: invalid checksum digest length: invalid "
	        "argument");
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

/* A restart: the hash is not in memory any more, and a crash took some of the small files. */
static void test_resume_after_restart(void)
{
	static const char *const lost[] = {NULL, "startedat", "updatedat", "total"};
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(lost); i++) {
		g_autofree char *digest = NULL, *data = content_suite_bytes(3000000, &digest);
		ContentStore *s = open_store(dir);
		ContentWriter *w = open_writer(s, "ref", 3000000);
		g_assert_true(content_write(w, data, 2000000, NULL));
		content_writer_close(w);
		content_store_free(s);
		g_autofree char *key = digest_bytes("ref", 3);
		if (lost[i] != NULL) {
			g_autofree char *file =
			        g_strdup_printf("%s/ingest/%s/%s", dir, digest_hex(key), lost[i]);
			if (i == 1)
				g_assert_true(
				        g_file_set_contents(file, "", 0, NULL)); // empty after a power cut
			else
				g_assert_cmpint(unlink(file), ==, 0);
		}
		s = open_store(dir);
		w = open_writer(s, "ref", 3000000);
		g_assert_cmpint(offset_of(w), ==, 2000000);
		g_assert_true(content_write(w, data + 2000000, 1000000, NULL));
		g_assert_true(content_commit(w, &ctx, 3000000, digest, NULL, NULL));
		content_writer_close(w);
		content_store_free(s);
	}
	g_assert_true(tree_remove(dir, NULL));
}

/* The hash of a closed writer is not used for a file that changed since. */
static void test_resume_changed(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	ContentStore *s = open_store(dir);
	ContentWriter *w = open_writer(s, "ref", 0);
	g_assert_true(content_write(w, "aaaa", 4, NULL));
	content_writer_close(w);
	g_autofree char *key = digest_bytes("ref", 3);
	g_autofree char *file = g_strdup_printf("%s/ingest/%s/data", dir, digest_hex(key));
	g_usleep(20000); // the time stamps are only so fine
	g_assert_true(file_write_atomic(file, "bbbb", 4, 0644, false, NULL));
	w = open_writer(s, "ref", 0);
	g_autofree char *digest = content_writer_digest(w), *expected = digest_bytes("bbbb", 4);
	g_assert_cmpstr(digest, ==, expected);
	// a total that does not agree with the earlier one begins anew, with nothing of the old left
	content_writer_close(w);
	w = open_writer(s, "ref2", 10);
	g_assert_true(content_write(w, "0123456", 7, NULL));
	content_writer_close(w);
	w = open_writer(s, "ref2", 5);
	g_assert_cmpint(offset_of(w), ==, 0);
	g_assert_true(content_write(w, "abc", 3, NULL));
	g_assert_true(content_commit(w, &ctx, 3, NULL, NULL, NULL));
	content_writer_close(w);
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

static void test_repair(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	g_autofree char *no_data = g_build_filename(dir, "ingest/0123/x", NULL);
	g_assert_true(dir_make_all(no_data, 0755, NULL));
	// an empty file in a blob's place, as upstream leaves after a power cut
	g_autofree char *digest = digest_bytes("hello", 5);
	g_autofree char *blobs = g_build_filename(dir, "blobs/sha256", NULL);
	g_autofree char *blob = g_build_filename(blobs, digest_hex(digest), NULL);
	g_assert_true(dir_make_all(blobs, 0755, NULL));
	g_assert_true(g_file_set_contents(blob, "", 0, NULL));
	ContentStore *s = open_store(dir);
	g_autofree char *ingest = g_build_filename(dir, "ingest/0123", NULL);
	g_assert_false(path_exists(ingest));
	g_assert_null(content_info(s, &ctx, digest, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);
	Descriptor desc = {.digest = digest, .size = 5};
	g_assert_true(content_write_blob(s, &ctx, "ref", "hello", 5, &desc, NULL, &error));
	g_assert_no_error(error);
	g_autoptr(ContentInfo) info = content_info(s, &ctx, digest, &error);
	g_assert_cmpint(info->size, ==, 5);
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

/* The caller writes by itself: with a hash, and without. */
static void test_advance(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	ContentStore *s = open_store(dir);
	for (int i = 0; i < 2; i++) {
		g_autofree char *digest = NULL, *data = content_suite_bytes(100000, &digest);
		ContentWriter *w = open_writer(s, "ref", 0);
		g_assert_true(content_write(w, data, 1000, NULL));
		int fd = content_writer_fd(w);
		g_assert_cmpint(pwrite(fd, data + 1000, 99000, 1000), ==, 99000);
		Digester *digester = NULL;
		if (i == 0) {
			digester = digester_new("sha256");
			digester_update(digester, data, 100000);
		}
		g_assert_true(content_writer_advance(w, 99000, digester, &error));
		g_assert_cmpint(offset_of(w), ==, 100000);
		g_assert_false(content_writer_advance(w, 1, NULL, &error));
		assert_error(error, CTRD_ERR_OUT_OF_RANGE, "ref ref: 1 bytes were not written: out of range");
		g_assert_true(content_commit(w, &ctx, 100000, digest, NULL, &error));
		content_writer_close(w);
	}
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

/* ---- failure ---- */

static int fsync_errno; // what fsync says for files

/* The executable's definition comes before libc's. */
__attribute__((visibility("default"))) int fsync(int fd)
{
	struct stat st;
	if (fsync_errno != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		errno = fsync_errno;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* Data that the disk did not take are not taken for written at the second try. */
static void test_fsync_fails(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	ContentStore *s = open_store(dir);
	g_autofree char *digest = digest_bytes("abc", 3);
	ContentWriter *w = open_writer(s, "ref", 3);
	g_assert_true(content_write(w, "abc", 3, &error));
	fsync_errno = EIO;
	g_assert_false(content_commit(w, &ctx, 3, digest, NULL, &error));
	fsync_errno = 0;
	g_assert_true(g_regex_match_simple("^sync failed: fsync /.*/data: input/output error$",
	                                   error->message, 0, 0));
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_clear_error(&error);
	content_writer_close(w);
	g_assert_null(content_info(s, &ctx, digest, NULL));
	w = open_writer(s, "ref", 3);
	g_assert_cmpint(offset_of(w), ==, 0);
	g_assert_true(content_write(w, "abc", 3, &error));
	g_assert_true(content_commit(w, &ctx, 3, digest, NULL, &error));
	content_writer_close(w);
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

static void test_disk_full(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	if (mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0) {
		g_assert_cmpint(rmdir(dir), ==, 0);
		g_test_skip("cannot mount a tmpfs");
		return;
	}
	ContentStore *s = open_store(dir);
	g_autofree char *digest = NULL, *data = content_suite_bytes(3000000, &digest);
	ContentWriter *w = open_writer(s, "ref", 3000000);
	g_assert_false(content_write(w, data, 3000000, &error));
	g_assert_true(
	        g_regex_match_simple("^write /.*/data: no space left on device$", error->message, 0, 0));
	g_assert_cmpint(error_class(error), ==, CTRD_ERR_UNKNOWN);
	g_clear_error(&error);
	int64_t offset = offset_of(w);
	g_assert_cmpint(offset, >, 1000000);
	g_autofree char *so_far = content_writer_digest(w), *expected = digest_bytes(data, (size_t)offset);
	g_assert_cmpstr(so_far, ==, expected);
	content_writer_close(w);
	g_assert_cmpint(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"), ==, 0);
	w = open_writer(s, "ref", 3000000);
	g_assert_cmpint(offset_of(w), ==, offset);
	g_assert_true(content_write(w, data + offset, 3000000 - (size_t)offset, &error));
	g_assert_true(content_commit(w, &ctx, 3000000, digest, NULL, &error));
	content_writer_close(w);
	content_store_free(s);
	g_assert_cmpint(umount(dir), ==, 0);
	g_assert_cmpint(rmdir(dir), ==, 0);
}

static bool check_blob(const ContentInfo *info, void *data, GError **error)
{
	ContentStore *s = data;
	g_autofree char *blob = NULL;
	size_t len;
	Descriptor desc = {.digest = info->digest};
	g_assert_true(content_read_blob(s, &ctx, &desc, 1 << 24, &blob, &len, error));
	g_autofree char *digest = digest_bytes(blob, len);
	g_assert_cmpstr(digest, ==, info->digest);
	return true;
}

/* Writes blobs until it is killed, and says which are done. */
static G_NORETURN void write_until_killed(const char *dir, int fd, guint32 seed)
{
	ContentStore *s = content_local_new(dir, NULL);
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	for (unsigned i = 0;; i++) {
		size_t len = (size_t)g_rand_int_range(rand, 1, 300000);
		g_autofree char *data = g_strnfill(len, (char)('a' + i % 26)),
		                *digest = digest_bytes(data, len);
		g_autofree char *ref = g_strdup_printf("ref%u", i % 7);
		Descriptor desc = {.size = (int64_t)len, .digest = digest};
		ContentWriter *w = content_writer(s, &ctx, ref, &(Descriptor){.size = desc.size}, NULL);
		if (w == NULL || !content_truncate(w, 0, NULL) || !content_write(w, data, len / 2, NULL) ||
		    !content_write(w, data + len / 2, len - len / 2, NULL))
			_exit(1);
		if (content_commit(w, &ctx, desc.size, digest, NULL, NULL) &&
		    write(fd, digest, strlen(digest) + 1) < 0)
			_exit(1);
		content_writer_close(w);
	}
}

static void crash_once(const char *dir, guint32 seed)
{
	int fds[2];
	g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
	pid_t pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid == 0)
		write_until_killed(dir, fds[1], seed);
	close(fds[1]);
	g_usleep((gulong)g_test_rand_int_range(5000, 60000));
	kill(pid, SIGKILL);
	g_autoptr(GString) said = g_string_new(NULL);
	char buf[4096];
	ssize_t n;
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		g_string_append_len(said, buf, n);
	close(fds[0]);
	int status;
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(WIFSIGNALED(status));

	ContentStore *s = open_store(dir);
	for (const char *p = said->str; p < said->str + said->len; p += strlen(p) + 1) {
		g_autoptr(ContentInfo) info = content_info(s, &ctx, p, NULL);
		g_assert_nonnull(info);
	}
	g_autoptr(GError) error = NULL;
	g_assert_true(content_walk(s, &ctx, NULL, check_blob, s, &error)); // each is whole
	g_autoptr(GPtrArray) refs = content_list_refs(s, &ctx, &error);
	for (guint i = 0; i < refs->len; i++) // each can be taken up
		content_writer_close(open_writer(s, refs->pdata[i], 0));
	content_store_free(s);
}

static void test_crash(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	for (guint32 i = 0; i < 8; i++)
		crash_once(dir, i);
	g_assert_true(tree_remove(dir, NULL));
}

/* ---- threads ---- */

typedef struct {
	ContentStore *s;
	unsigned id;
	pthread_t thread;
} Worker;

/* All write the same blobs under the same refs, and each comes through. */
static void *work(void *data)
{
	Worker *w = data;
	for (unsigned i = 0; i < 20; i++) {
		g_autofree char *blob = g_strnfill(50000 + i, (char)('a' + i)),
		                *digest = digest_bytes(blob, 50000 + i);
		g_autofree char *ref = g_strdup_printf("ref%u", (i + w->id) % 3);
		g_autoptr(GError) error = NULL;
		Descriptor desc = {.size = 50000 + i, .digest = digest};
		ContentWriter *writer = content_open_writer(w->s, &ctx, ref, &desc, &error);
		if (writer == NULL) {
			g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
			continue;
		}
		g_assert_true(content_truncate(writer, 0, NULL));
		g_assert_true(content_write(writer, blob, 50000 + i, NULL));
		if (!content_commit(writer, &ctx, desc.size, digest, NULL, &error))
			g_assert_true(error_is(error, CTRD_ERR_ALREADY_EXISTS));
		content_writer_close(writer);
	}
	return NULL;
}

static void test_concurrent(void)
{
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	ContentStore *s = open_store(dir);
	Worker workers[4];
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++) {
		workers[i] = (Worker){.s = s, .id = i};
		g_assert_cmpint(thread_start(&workers[i].thread, "test", 0, work, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(workers); i++)
		pthread_join(workers[i].thread, NULL);
	g_autoptr(GError) error = NULL;
	g_assert_true(content_walk(s, &ctx, NULL, check_blob, s, &error));
	content_store_free(s);
	g_assert_true(tree_remove(dir, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	content_suite_add(&suite);
	g_test_add_func("/content-local/layout", test_layout);
	g_test_add_func("/content-local/texts", test_texts);
	g_test_add_func("/content-local/resume-after-restart", test_resume_after_restart);
	g_test_add_func("/content-local/resume-changed", test_resume_changed);
	g_test_add_func("/content-local/repair", test_repair);
	g_test_add_func("/content-local/advance", test_advance);
	g_test_add_func("/content-local/fsync-fails", test_fsync_fails);
	g_test_add_func("/content-local/disk-full", test_disk_full);
	g_test_add_func("/content-local/crash", test_crash);
	g_test_add_func("/content-local/concurrent", test_concurrent);
	return g_test_run();
}
