// SPDX-License-Identifier: Apache-2.0
/*
 * What runs a fuzz target where it is not built with libFuzzer (-Dfuzz=true): every file and directory given
 * is put through LLVMFuzzerTestOneInput, so that a stored crash stays an ordinary test of every build.
 */
#include "base/fs.h"
#include <stdio.h>

#define INPUT_MAX ((size_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;

static bool replay(const char *path, GError **error)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		g_autoptr(GPtrArray) names = dir_list(path, 0, error);
		if (names == NULL)
			return false;
		for (guint i = 0; i < names->len; i++) {
			g_autofree char *entry = path_join(path, names->pdata[i]);
			if (!replay(entry, error))
				return false;
		}
		return true;
	}
	g_autofree char *data = NULL;
	size_t len;
	if (!file_read(path, INPUT_MAX, &data, &len, error))
		return false;
	// a copy of exactly this size, so that a sanitizer sees a read past the end
	g_autofree uint8_t *input = g_memdup2(data, len);
	LLVMFuzzerTestOneInput(input, len);
	n_inputs++;
	return true;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		g_autoptr(GError) error = NULL;
		if (!replay(argv[i], &error)) {
			fprintf(stderr, "%s\n", error->message);
			return 1;
		}
	}
	if (n_inputs == 0) {
		fprintf(stderr, "no inputs: usage: %s FILE|DIRECTORY...\n", argv[0]);
		return 1;
	}
	printf("%u inputs\n", n_inputs);
	return 0;
}
