// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"
#include "base/sanitizers.h"
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#define CHUNK_FIRST 2048
#define CHUNK_MAX 65536

typedef struct Chunk Chunk;
struct Chunk {
	Chunk *next;
	alignas(max_align_t) unsigned char data[];
};

struct Arena {
	Chunk *chunks;
	unsigned char *at, *end; // free room of the current chunk
	size_t next_size;
};

Arena *arena_new(void)
{
	Arena *arena = g_new0(Arena, 1);
	arena->next_size = CHUNK_FIRST;
	return arena;
}

void arena_free(Arena *arena)
{
	if (arena == NULL)
		return;
	for (Chunk *c = arena->chunks, *next; c != NULL; c = next) {
		next = c->next;
		g_free(c);
	}
	g_free(arena);
}

static Chunk *chunk_add(Arena *arena, size_t size)
{
	Chunk *c = g_malloc(sizeof(Chunk) + size);
	c->next = arena->chunks;
	arena->chunks = c;
	return c;
}

void *arena_alloc(Arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	g_assert(size <= SIZE_MAX - sizeof(Chunk) - align);
#if !CTRD_ASAN
	// never of size 0, so that two allocations never share an address
	size_t rounded = ((size > 0 ? size : 1) + align - 1) & ~(align - 1);
	if (rounded <= CHUNK_FIRST / 2) {
		if (rounded > (size_t)(arena->end - arena->at)) {
			Chunk *c = chunk_add(arena, arena->next_size);
			arena->at = c->data;
			arena->end = c->data + arena->next_size;
			arena->next_size = MIN(arena->next_size * 2, CHUNK_MAX);
		}
		void *p = arena->at;
		arena->at += rounded;
		return memset(p, 0, rounded);
	}
#endif
	return memset(chunk_add(arena, size)->data, 0, size);
}

void *arena_alloc_n(Arena *arena, size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total))
		g_error("arena_alloc_n: %zu * %zu bytes", n, size);
	return arena_alloc(arena, total);
}

void *arena_memdup(Arena *arena, const void *data, size_t len)
{
	void *p = arena_alloc(arena, len);
	if (len > 0)
		memcpy(p, data, len);
	return p;
}

char *arena_strdup(Arena *arena, const char *s)
{
	return s != NULL ? arena_memdup(arena, s, strlen(s) + 1) : arena_alloc(arena, 1);
}

char *arena_printf(Arena *arena, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	g_autofree char *s = g_strdup_vprintf(format, ap);
	va_end(ap);
	return arena_strdup(arena, s);
}
