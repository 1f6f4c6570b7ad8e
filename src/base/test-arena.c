// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

static void test_alloc(void)
{
	g_autoptr(Arena) arena = arena_new();
	unsigned char *blocks[500];
	// sizes around the chunk borders; each is zeroed, aligned and its own
	for (size_t i = 0; i < G_N_ELEMENTS(blocks); i++) {
		size_t size = i * 7;
		blocks[i] = arena_alloc(arena, size);
		g_assert_cmpuint((uintptr_t)blocks[i] % alignof(max_align_t), ==, 0);
		for (size_t j = 0; j < size; j++)
			g_assert_cmpuint(blocks[i][j], ==, 0);
		memset(blocks[i], (int)(i % 255) + 1, size);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(blocks); i++)
		for (size_t j = 0; j < i * 7; j++)
			g_assert_cmpuint(blocks[i][j], ==, i % 255 + 1);
	g_assert_true(arena_alloc(arena, 0) != arena_alloc(arena, 0));
	unsigned char *big = arena_alloc(arena, 1 << 20);
	g_assert_cmpuint(big[(1 << 20) - 1], ==, 0);
}

static void test_copies(void)
{
	g_autoptr(Arena) arena = arena_new();
	g_assert_cmpstr(arena_strdup(arena, "abc"), ==, "abc");
	g_assert_cmpstr(arena_strdup(arena, NULL), ==, "");
	g_assert_cmpstr(arena_printf(arena, "%s-%d", "x", 7), ==, "x-7");
	g_assert_cmpmem(arena_memdup(arena, "a\0b", 3), 3, "a\0b", 3);
	g_assert_nonnull(arena_memdup(arena, NULL, 0));
	int *numbers = arena_alloc_n(arena, 10, sizeof(int));
	g_assert_cmpint(numbers[9], ==, 0);
}

static void test_overflow(void)
{
	if (g_test_subprocess()) {
		g_autoptr(Arena) arena = arena_new();
		arena_alloc_n(arena, SIZE_MAX / 2, 3);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*arena_alloc_n*");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/arena/alloc", test_alloc);
	g_test_add_func("/arena/copies", test_copies);
	g_test_add_func("/arena/overflow", test_overflow);
	return g_test_run();
}
