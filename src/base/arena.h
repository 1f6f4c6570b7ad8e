// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A bump allocator for what lives as long as one call: everything goes at once when the arena is freed. One
 * thread at a time. Under AddressSanitizer (or with CTRD_ARENA_MALLOC set at build time) each allocation is a
 * malloc of its own, so that overruns are found. Never keep a pointer into an arena in an object that
 * outlives the call.
 */

#include <glib.h>
#include <stddef.h>

typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *arena);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Arena, arena_free)

void *arena_alloc(Arena *arena, size_t size);             // zeroed, aligned for any type
void *arena_alloc_n(Arena *arena, size_t n, size_t size); // n * size, checked for overflow
char *arena_strdup(Arena *arena, const char *s);          // NULL gives ""
void *arena_memdup(Arena *arena, const void *data, size_t len);
char *arena_printf(Arena *arena, const char *format, ...) G_GNUC_PRINTF(2, 3);
