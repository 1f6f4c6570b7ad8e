// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The words of a filter, for filters.c. What the scanner takes and where it stops is upstream's
 * (pkg/filters/scanner.go, quote.go), since error texts show it. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum {
	TOKEN_EOF,
	TOKEN_QUOTED,
	TOKEN_VALUE,
	TOKEN_FIELD,
	TOKEN_SEPARATOR,
	TOKEN_OPERATOR,
	TOKEN_ILLEGAL,
	TOKEN_OTHER, // a character that starts no word
} Token;

#define RUNE_EOF ((gunichar)-1)
#define RUNE_ILLEGAL ((gunichar)-7)

typedef struct {
	const char *input;
	size_t len;
	size_t pos, next_pos; // of the present rune
	bool value;           // what comes next is a value: after an operator
	const char *error;    // why something was illegal: the first reason
} Scanner;

void scanner_init(Scanner *s, const char *input);
/* The next rune, without taking it. */
gunichar scanner_peek(Scanner *s);
/* The next word: where it starts and, unless it is EOF or OTHER, how long it is. */
Token scanner_scan(Scanner *s, size_t *ret_start, size_t *ret_len);

/* Takes a word out of its quotes ("", '', ``, and // and ||). NULL: the syntax is wrong. */
char *filter_unquote(const char *s, size_t len);
