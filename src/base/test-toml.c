// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/toml.h"
#include <math.h>
#include <string.h>

/* Every rule of the specification has its cases: what a document means is shown by how it is written back. */
typedef struct {
	const char *doc, *written;
} Valid;

static const Valid valid[] = {
        // the document
        {"", ""},
        {"\n\n# only a comment\n", ""},
        {"#", ""},
        {"\t \r\n \t", ""},
        {"\xef\xbb\xbf"
         "a = 1",
         "a = 1\n"},
        {"a = 1 # comment \xc3\xa9\tx", "a = 1\n"},
        {"a=1\r\nb=2\r\n", "a = 1\nb = 2\n"},
        // keys
        {"bare-key_1 = 1\n1234 = 2\n- = 3", "bare-key_1 = 1\n1234 = 2\n- = 3\n"},
        {"\"127.0.0.1\" = 1\n'quoted \"value\"' = 2\n\"\xca\x8e\" = 3",
         "'127.0.0.1' = 1\n'quoted \"value\"' = 2\n'\xca\x8e' = 3\n"},
        {"\"\" = 1", "'' = 1\n"},
        {"'' = 1", "'' = 1\n"},
        {"\"a\\nb\" = 1\n\"it's\" = 2", "\"a\\nb\" = 1\n\"it's\" = 2\n"},
        {"\"\\u0000\" = \"\\u0000x\"", "\"\\u0000\" = \"\\u0000x\"\n"},
        {"a.b.c = 1\na . b . d = 2\na.\"x.y\" = 3", "[a]\n  'x.y' = 3\n\n  [a.b]\n    c = 1\n    d = 2\n"},
        {"3.14159 = 'pi'", "[3]\n  14159 = 'pi'\n"},
        {"a.b = 1\nc = 2\na.d = 3", "c = 2\n\n[a]\n  b = 1\n  d = 3\n"},
        {"true = 1\ninf = 2\n2020-01-01 = 3", "true = 1\ninf = 2\n2020-01-01 = 3\n"},
        // basic strings
        {"a = \"\"", "a = ''\n"},
        {"a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "a = \"\\b\\t\\n\\f\\r\\\"\\\\\"\n"},
        {"a = \"\\u00e9\\U0001F600\\uD7FF\\uE000\"",
         "a = '\xc3\xa9\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80'\n"},
        {"a = \"tab\there\"", "a = 'tab\there'\n"},
        {"a = \"\\u007f\\u001F\"", "a = \"\\u007F\\u001F\"\n"},
        {"a = \"# not a comment\"", "a = '# not a comment'\n"},
        // multi-line basic strings
        {"a = \"\"\"\"\"\"", "a = ''\n"},
        {"a = \"\"\"\nRoses\nViolets\"\"\"", "a = \"Roses\\nViolets\"\n"},
        {"a = \"\"\"\r\nx\r\ny\"\"\"", "a = \"x\\r\\ny\"\n"},
        {"a = \"\"\"\nThe quick \\\n\n\n  brown \\\n    fox.\"\"\"", "a = 'The quick brown fox.'\n"},
        {"a = \"\"\"\\\n   x\\   \t\n  \"\"\"", "a = 'x'\n"},
        {"a = \"\"\"\"one\" \"\"two\"\" \"\"\\\"three\\\"\"\"\"\"\"",
         "a = '\"one\" \"\"two\"\" \"\"\"three\"\"\"'\n"},
        {"a = \"\"\"x\"\"\"\"\"", "a = 'x\"\"'\n"},
        {"a = \"\"\"\"\"\"\"\"", "a = '\"\"'\n"},
        // literal strings
        {"a = 'C:\\Users\\n'", "a = 'C:\\Users\\n'\n"},
        {"a = '''\nfirst\n\\second'''", "a = \"first\\n\\\\second\"\n"},
        {"a = '''''two'''''", "a = \"''two''\"\n"},
        // integers
        {"a = 0\nb = +0\nc = -0\nd = +99\ne = -17", "a = 0\nb = 0\nc = 0\nd = 99\ne = -17\n"},
        {"a = 1_000\nb = 1_2_3_4", "a = 1000\nb = 1234\n"},
        {"a = 0xDEADBEEF\nb = 0xdead_beef\nc = 0o755\nd = 0b1101_0110\ne = 0x00",
         "a = 3735928559\nb = 3735928559\nc = 493\nd = 214\ne = 0\n"},
        {"a = 9223372036854775807\nb = -9223372036854775808\nc = 0x7fffffffffffffff",
         "a = 9223372036854775807\nb = -9223372036854775808\nc = 9223372036854775807\n"},
        // floats
        {"a = 1.0\nb = 3.1415\nc = -0.01\nd = +1.5", "a = 1.0\nb = 3.1415\nc = -0.01\nd = 1.5\n"},
        {"a = 5e+22\nb = 1e06\nc = -2E-2\nd = 6.626e-34",
         "a = 50000000000000000000000.0\nb = 1000000.0\nc = -0.02\n"
         "d = 0.0000000000000000000000000000000006626\n"},
        {"a = 224_617.445_991_228\nb = 0.0\nc = -0.0\nd = 0e0",
         "a = 224617.445991228\nb = 0.0\nc = -0.0\nd = 0.0\n"},
        {"a = inf\nb = +inf\nc = -inf\nd = nan\ne = +nan\nf = -nan",
         "a = inf\nb = inf\nc = -inf\nd = nan\ne = nan\nf = nan\n"},
        {"a = 0.1\nb = 100.0\nc = 1e21\nd = 123456.789e3",
         "a = 0.1\nb = 100.0\nc = 1000000000000000000000.0\nd = 123456789.0\n"},
        // booleans and times
        {"a = true\nb=false", "a = true\nb = false\n"},
        {"a = 1979-05-27T07:32:00Z\nb = 1979-05-27 00:32:00.999999-07:00\nc = 1979-05-27t00:32:00z",
         "a = 1979-05-27T07:32:00Z\nb = 1979-05-27T00:32:00.999999-07:00\nc = 1979-05-27T00:32:00Z\n"},
        {"a = 1979-05-27T07:32:00\nb = 1979-05-27\nc = 07:32:00.5\nd = 1979-05-27 # x",
         "a = 1979-05-27T07:32:00\nb = 1979-05-27\nc = 07:32:00.5\nd = 1979-05-27\n"},
        {"a = 2000-02-29\nb = 2024-02-29\nc = 0000-02-29\nd = 1990-12-31T23:59:60Z",
         "a = 2000-02-29\nb = 2024-02-29\nc = 0000-02-29\nd = 1990-12-31T23:59:60Z\n"},
        {"a = [1979-05-27,07:32:00]", "a = [1979-05-27, 07:32:00]\n"},
        // arrays
        {"a = []\nb = [ ]\nc = [\n]\nd = [ # x\n]", "a = []\nb = []\nc = []\nd = []\n"},
        {"a = [1, 2,]\nb = [\n 1, # one\n 'two' # two\n , 3.0,\n\n]", "a = [1, 2]\nb = [1, 'two', 3.0]\n"},
        {"a = [[1, 2], ['a', [true]], []]", "a = [[1, 2], ['a', [true]], []]\n"},
        {"a = [{x = 1}, 2]", "a = [{x = 1}, 2]\n"},
        {"a = [{x = 1}, {}]", "[[a]]\n  x = 1\n\n[[a]]\n"},
        {"a = [ '#', \"]\" ]", "a = ['#', ']']\n"},
        // inline tables
        {"a = {}\nb = { }\nc = {x=1,y = 'z'}", "[a]\n\n[b]\n\n[c]\n  x = 1\n  y = 'z'\n"},
        {"a = { type.name = 'pug', type.age = 3 }", "[a]\n  [a.type]\n    name = 'pug'\n    age = 3\n"},
        {"a = { b = { c = [ 1,\n2 ] } }", "[a]\n  [a.b]\n    c = [1, 2]\n"},
        {"a.b = {x = 1}\na.c = 2", "[a]\n  c = 2\n\n  [a.b]\n    x = 1\n"},
        // tables
        {"[a]\n[b]\nx=1", "[a]\n\n[b]\n  x = 1\n"},
        {"[ a . b . 'c d' ] # comment\nx = 1", "[a]\n  [a.b]\n    [a.b.'c d']\n      x = 1\n"},
        {"[x.y.z.w]\n[x]\na = 1", "[x]\n  a = 1\n\n  [x.y]\n    [x.y.z]\n      [x.y.z.w]\n"},
        {"[fruit.apple]\n[animal]\n[fruit.orange]",
         "[fruit]\n  [fruit.apple]\n\n  [fruit.orange]\n\n[animal]\n"},
        {"[fruit]\napple.color = 1\napple.taste.sweet = true\n[fruit.apple.texture]\nsmooth = true",
         "[fruit]\n  [fruit.apple]\n    color = 1\n\n    [fruit.apple.taste]\n      sweet = true\n\n"
         "    [fruit.apple.texture]\n      smooth = true\n"},
        {"[a.b.c]\nz = 9\n[a]\nb.d = 1", "[a]\n  [a.b]\n    d = 1\n\n    [a.b.c]\n      z = 9\n"},
        {"[a.b.c]\n[a]\nb.d = 1\n[a.b]\ne = 2", "[a]\n  [a.b]\n    d = 1\n    e = 2\n\n    [a.b.c]\n"},
        {"['']\nx=1\n[''.'']\ny=2", "['']\n  x = 1\n\n  [''.'']\n    y = 2\n"},
        // arrays of tables
        {"[[p]]\nname = 'a'\n[[p]]\n[[p]]\nname = 'b'",
         "[[p]]\n  name = 'a'\n\n[[p]]\n\n[[p]]\n  name = 'b'\n"},
        {"[[f]]\n[f.p]\nx=1\n[[f.v]]\nn=1\n[[f.v]]\nn=2\n[[f]]\n[f.p]\nx=2",
         "[[f]]\n  [f.p]\n    x = 1\n\n  [[f.v]]\n    n = 1\n\n  [[f.v]]\n    n = 2\n\n[[f]]\n  [f.p]\n    x "
         "= 2\n"},
        {"[[a.b]]\nx=1\n[a]\ny=2\n[[a.b]]\nx=3",
         "[a]\n  y = 2\n\n  [[a.b]]\n    x = 1\n\n  [[a.b]]\n    x = 3\n"},
        {"[[ a ]]\nb.c = 1\n[[a]]\nb.c = 2", "[[a]]\n  [a.b]\n    c = 1\n\n[[a]]\n  [a.b]\n    c = 2\n"},
        // layout as upstream's: single quotes, escapes only where needed
        {"a = \"it's\"\nb = \"a\\\\b\"\nc = \"say \\\"x\\\"\"",
         "a = \"it's\"\nb = 'a\\b'\nc = 'say \"x\"'\n"},
};

static const struct {
	const char *doc, *text;
} invalid[] = {
        // the document
        {"a", "t:1:2: expected \"=\" after a key, found the end of the document"},
        {"a = 1 b = 2", "t:1:7: expected the end of the line, found \"b\""},
        {"a = 1\n= 2", "t:2:1: expected a key, found \"=\""},
        {"a = 1\rb = 2", "t:1:6: expected the end of the line, found the end of the line"},
        {"# x\x01", "t:1:4: control character U+0001 in a comment"},
        {"# x\x7f", "t:1:4: control character U+007F in a comment"},
        {"# x\ry", "t:1:4: control character U+000D in a comment"},
        {"a = \"\xff\"", "t:1:6: invalid UTF-8"},
        {"a = 1\nb = '\xc3\xa9' # \xed\xa0\x80", "t:2:11: invalid UTF-8"},
        {"a = '\xc0\x80'", "t:1:6: invalid UTF-8"},
        // keys
        {"a b = 1", "t:1:3: expected \"=\" after a key, found \"b\""},
        {"\xc3\xa9 = 1", "t:1:1: expected a key, found \"\xc3\xa9\""},
        {".a = 1", "t:1:1: expected a key, found \".\""},
        {"a. = 1", "t:1:4: expected a key, found \"=\""},
        {"a..b = 1", "t:1:3: expected a key, found \".\""},
        {"\"\"\"a\"\"\" = 1", "t:1:1: a key may not be a multi-line string"},
        {"'''a''' = 1", "t:1:1: a key may not be a multi-line string"},
        {"\"a\nb\" = 1", "t:1:1: string is not closed"},
        {"a = 1\na = 2", "t:2:1: \"a\" is already set (first at line 1)"},
        {"a = 1\n\"a\" = 2", "t:2:1: \"a\" is already set (first at line 1)"},
        {"a = 1\na.b = 2", "t:2:1: \"a\" is not a table (first at line 1)"},
        {"a.b = 1\na = 2", "t:2:1: \"a\" is already set (first at line 1)"},
        {"a =", "t:1:4: expected a value, found the end of the document"},
        {"a = \nb = 1", "t:1:5: expected a value, found the end of the line"},
        {"a = # x", "t:1:5: expected a value, found \"#\""},
        {"a\n= 1", "t:1:2: expected \"=\" after a key, found the end of the line"},
        // strings
        {"a = \"x", "t:1:5: string is not closed"},
        {"a = \"x\ny\"", "t:1:5: string is not closed"},
        {"a = 'x\ny'", "t:1:5: string is not closed"},
        {"a = \"\"\"x\"\"", "t:1:5: string is not closed"},
        {"a = '''x''", "t:1:5: string is not closed"},
        {"a = \"\"\"x\"\"\"\"\"\"", "t:1:14: expected the end of the line, found \"\\\"\""},
        {"a = \"\\x41\"",
         "t:1:7: expected an escape (one of b t n f r u U \" \\) after a backslash, found \"x\""},
        {"a = \"\\e\"",
         "t:1:7: expected an escape (one of b t n f r u U \" \\) after a backslash, found \"e\""},
        {"a = \"\\ \"",
         "t:1:7: expected an escape (one of b t n f r u U \" \\) after a backslash, found \" \""},
        {"a = \"\\\nx\"", "t:1:7: expected an escape (one of b t n f r u U \" \\) after a backslash, found "
                          "the end of the line"},
        {"a = \"\\u12g4\"", "t:1:10: expected 4 hexadecimal digits after \\u, found \"g\""},
        {"a = \"\\U0001\"", "t:1:12: expected 8 hexadecimal digits after \\U, found \"\\\"\""},
        {"a = \"\\uD800\"", "t:1:12: U+D800 is not a Unicode scalar value"},
        {"a = \"\\U00110000\"", "t:1:16: U+110000 is not a Unicode scalar value"},
        {"a = \"\x1f\"", "t:1:6: control character U+001F in a string"},
        {"a = \"x\ry\"", "t:1:7: control character U+000D in a string"},
        {"a = '\x7f'", "t:1:6: control character U+007F in a string"},
        {"a = '''\x0b'''", "t:1:8: control character U+000B in a string"},
        {"a = \"\"\"\nb \\ c\"\"\"", "t:2:5: expected the end of the line after a backslash, found \"c\""},
        // numbers
        {"a = 01", "t:1:5: \"01\": a number may not start with 0"},
        {"a = -007", "t:1:5: \"-007\": a number may not start with 0"},
        {"a = 00.5", "t:1:5: \"00.5\": a number may not start with 0"},
        {"a = _1", "t:1:5: \"_1\" is not a value; a string needs quotes"},
        {"a = 1_", "t:1:5: \"1_\" is not a value; a string needs quotes"},
        {"a = 1__0", "t:1:5: \"1__0\" is not a value; a string needs quotes"},
        {"a = ++1", "t:1:5: \"++1\" is not a value; a string needs quotes"},
        {"a = 0x", "t:1:5: \"0x\" is not an integer"},
        {"a = 0x_1", "t:1:5: \"0x_1\" is not an integer"},
        {"a = 0xg", "t:1:5: \"0xg\" is not an integer"},
        {"a = 0o8", "t:1:5: \"0o8\" is not an integer"},
        {"a = 0b2", "t:1:5: \"0b2\" is not an integer"},
        {"a = 0X1", "t:1:5: \"0X1\" is not a value; a string needs quotes"},
        {"a = +0x1", "t:1:5: \"+0x1\" is not a value; a string needs quotes"},
        {"a = 9223372036854775808", "t:1:5: integer 9223372036854775808 does not fit in 64 bits"},
        {"a = -9223372036854775809", "t:1:5: integer -9223372036854775809 does not fit in 64 bits"},
        {"a = 0xffffffffffffffff", "t:1:5: integer 0xffffffffffffffff does not fit in 64 bits"},
        {"a = .5", "t:1:5: \".5\" is not a value; a string needs quotes"},
        {"a = 5.", "t:1:5: \"5.\" is not a value; a string needs quotes"},
        {"a = 5.e1", "t:1:5: \"5.e1\" is not a value; a string needs quotes"},
        {"a = 1e", "t:1:5: \"1e\" is not a value; a string needs quotes"},
        {"a = 1e1.5", "t:1:5: \"1e1.5\" is not a value; a string needs quotes"},
        {"a = 1._5", "t:1:5: \"1._5\" is not a value; a string needs quotes"},
        {"a = 1e400", "t:1:5: float 1e400 does not fit in 64 bits"},
        {"a = Inf", "t:1:5: \"Inf\" is not a value; a string needs quotes"},
        {"a = NaN", "t:1:5: \"NaN\" is not a value; a string needs quotes"},
        {"a = True", "t:1:5: \"True\" is not a value; a string needs quotes"},
        {"a = debug", "t:1:5: \"debug\" is not a value; a string needs quotes"},
        // times
        {"a = 2021-02-29", "t:1:5: \"2021-02-29\" is not a valid date or time"},
        {"a = 1900-02-29", "t:1:5: \"1900-02-29\" is not a valid date or time"},
        {"a = 2021-13-01", "t:1:5: \"2021-13-01\" is not a valid date or time"},
        {"a = 2021-00-01", "t:1:5: \"2021-00-01\" is not a valid date or time"},
        {"a = 2021-04-31", "t:1:5: \"2021-04-31\" is not a valid date or time"},
        {"a = 2021-1-1", "t:1:5: \"2021-1-1\" is not a valid date or time"},
        {"a = 2021-01-01T", "t:1:5: \"2021-01-01T\" is not a valid date or time"},
        {"a = 2021-01-01T24:00:00", "t:1:5: \"2021-01-01T24:00:00\" is not a valid date or time"},
        {"a = 2021-01-01T00:60:00", "t:1:5: \"2021-01-01T00:60:00\" is not a valid date or time"},
        {"a = 2021-01-01T00:00:61Z", "t:1:5: \"2021-01-01T00:00:61Z\" is not a valid date or time"},
        {"a = 2021-01-01T00:00", "t:1:5: \"2021-01-01T00:00\" is not a valid date or time"},
        {"a = 2021-01-01T00:00:00.", "t:1:5: \"2021-01-01T00:00:00.\" is not a valid date or time"},
        {"a = 2021-01-01T00:00:00+25:00", "t:1:5: \"2021-01-01T00:00:00+25:00\" is not a valid date or time"},
        {"a = 2021-01-01T00:00:00+0100", "t:1:5: \"2021-01-01T00:00:00+0100\" is not a valid date or time"},
        {"a = 2021-01-01  00:00:00", "t:1:17: expected the end of the line, found \"0\""},
        {"a = 07:32:00Z", "t:1:5: \"07:32:00Z\" is not a valid date or time"},
        {"a = 7:32:00", "t:1:5: \"7:32:00\" is not a value; a string needs quotes"},
        // arrays and inline tables
        {"a = [1 2]", "t:1:8: expected \",\" or \"]\" in an array, found \"2\""},
        {"a = [,1]", "t:1:6: expected a value, found \",\""},
        {"a = [1,,2]", "t:1:8: expected a value, found \",\""},
        {"a = [1", "t:1:7: expected \",\" or \"]\" in an array, found the end of the document"},
        {"a = [", "t:1:6: expected a value, found the end of the document"},
        {"a = {x = 1, }", "t:1:13: expected a key, found \"}\""},
        {"a = {x = 1,, y = 2}", "t:1:12: expected a key, found \",\""},
        {"a = {x = 1 y = 2}", "t:1:12: expected \",\" or \"}\" in an inline table, found \"y\""},
        {"a = {\nx = 1}", "t:1:6: expected a key, found the end of the line"},
        {"a = {x = 1", "t:1:11: expected \",\" or \"}\" in an inline table, found the end of the document"},
        {"a = {x = 1, x = 2}", "t:1:13: \"x\" is already set (first at line 1)"},
        {"a = {x.y = 1, x = 2}", "t:1:15: \"x\" is already set (first at line 1)"},
        {"a = {x = {y = 1}, x.z = 2}",
         "t:1:19: \"x\" is already complete: a dotted key may not add to it (first at line 1)"},
        {"a = {}\na.b = 1",
         "t:2:1: \"a\" is already complete: a dotted key may not add to it (first at line 1)"},
        {"a = {}\n[a.b]", "t:2:2: \"a\" is not a table that can be added to (first at line 1)"},
        {"a = {}\n[a]", "t:2:2: \"a\" is already defined (first at line 1)"},
        {"a = [{}]\n[[a]]", "t:2:3: \"a\" is not an array of tables (first at line 1)"},
        {"a = []\n[a.b]", "t:2:2: \"a\" is not a table that can be added to (first at line 1)"},
        // tables
        {"[a]\n[a]", "t:2:2: \"a\" is already defined (first at line 1)"},
        {"[a]\nb = 1\n[a.b]", "t:3:4: \"a.b\" is not a table (first at line 2)"},
        {"[a]\nb = 1\n[a.b.c]", "t:3:4: \"a.b\" is not a table that can be added to (first at line 2)"},
        {"[a]\nb.c = 1\n[a.b]", "t:3:4: \"a.b\" is already defined (first at line 2)"},
        {"a.b = 1\n[a]", "t:2:2: \"a\" is already defined (first at line 1)"},
        {"[a.b.c]\nz = 9\n[a]\nb.c.t = 1",
         "t:4:3: \"b.c\" is already complete: a dotted key may not add to it (first at line 1)"},
        {"[a.b.c.d]\nz = 9\n[a]\nb.c.d.k.t = 1",
         "t:4:5: \"b.c.d\" is already complete: a dotted key may not add to it (first at line 1)"},
        {"[[a.b]]\n[a]\nb.y = 2", "t:3:1: \"b\" is not a table (first at line 1)"},
        {"[]", "t:1:2: expected a key, found \"]\""},
        {"[a", "t:1:3: expected \"]\" after the name of a table, found the end of the document"},
        {"[a]]", "t:1:4: expected the end of the line, found \"]\""},
        {"[a] b = 1", "t:1:5: expected the end of the line, found \"b\""},
        {"[a\n]", "t:1:3: expected \"]\" after the name of a table, found the end of the line"},
        {"[a.]", "t:1:4: expected a key, found \"]\""},
        {"[[a]", "t:1:4: expected \"]]\" after the name of an array of tables, found \"]\""},
        {"[ [a]]", "t:1:3: expected a key, found \"[\""},
        {"[[a] ]", "t:1:4: expected \"]]\" after the name of an array of tables, found \"]\""},
        {"[a]\n[[a]]", "t:2:3: \"a\" is not an array of tables (first at line 1)"},
        {"[[a]]\n[a]", "t:2:2: \"a\" is not a table (first at line 1)"},
        {"[a.b]\n[[a]]", "t:2:3: \"a\" is not an array of tables (first at line 1)"},
        {"[[f]]\n[[f.v]]\n[f.v]", "t:3:4: \"f.v\" is not a table (first at line 2)"},
};

static TomlValue *parse(const char *doc)
{
	g_autoptr(GError) error = NULL;
	TomlValue *v = toml_parse(doc, strlen(doc), "t", &error);

	if (v == NULL)
		g_test_message("document: %s", doc);
	g_assert_no_error(error);
	return v;
}

static void test_valid(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(valid); i++) {
		g_autoptr(TomlValue) doc = parse(valid[i].doc);
		g_autoptr(GString) text = g_string_new(NULL);

		toml_write(text, doc);
		g_assert_cmpstr(text->str, ==, valid[i].written);
		g_autoptr(TomlValue) again = parse(text->str);
		g_assert_true(toml_equal(doc, again));
	}
}

static void test_invalid(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(invalid); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(TomlValue) doc = toml_parse(invalid[i].doc, strlen(invalid[i].doc), "t", &error);

		if (doc != NULL)
			g_test_message("document: %s", invalid[i].doc);
		g_assert_null(doc);
		g_assert_cmpstr(error->message, ==, invalid[i].text);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void test_nul_byte(void)
{
	static const char doc[] = "a = 1\nb\0 = 2";
	g_autoptr(GError) error = NULL;

	g_assert_null(toml_parse(doc, sizeof(doc) - 1, NULL, &error));
	g_assert_cmpstr(error->message, ==, "<input>:2:2: control character U+0000");
}

/* No document may take the stack, or time that grows with the square of its size. */
static void test_bounds(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) s = g_string_new("a = ");

	for (unsigned i = 0; i < 100000; i++)
		g_string_append_c(s, '[');
	g_assert_null(toml_parse(s->str, s->len, "t", &error));
	g_assert_cmpstr(error->message, ==, "t:1:133: more than 128 levels");
	g_clear_error(&error);

	g_string_assign(s, "a");
	for (unsigned i = 0; i < 100000; i++)
		g_string_append(s, ".a");
	g_assert_null(toml_parse(s->str, s->len, "t", &error));
	g_assert_cmpstr(error->message, ==, "t:1:258: more than 128 levels");
	g_clear_error(&error);

	// Levels of headers, dotted keys and values count together.
	g_string_assign(s, "[");
	for (unsigned i = 0; i < 100; i++)
		g_string_append(s, i > 0 ? ".h" : "h");
	g_string_append(s, "]\na = ");
	for (unsigned i = 0; i < 40; i++)
		g_string_append(s, "{b = ");
	g_assert_null(toml_parse(s->str, s->len, "t", &error));
	g_assert_cmpstr(error->message, ==, "t:2:143: more than 128 levels");
	g_clear_error(&error);

	g_string_assign(s, "a = [");
	for (unsigned i = 0; i < TOML_MAX_VALUES; i++)
		g_string_append(s, "1,");
	g_assert_null(toml_parse(s->str, s->len, "t", &error));
	g_assert_cmpstr(error->message, ==, "t:1:524292: more than 262144 values");
	g_clear_error(&error);

	g_string_assign(s, "# ");
	g_string_set_size(s, TOML_MAX_SIZE + 1);
	g_assert_null(toml_parse(s->str, s->len, "t", &error));
	g_assert_cmpstr(error->message, ==, "t: document of 16777217 bytes is larger than 16777216 bytes");
	g_assert_true(error_is(error, CTRD_ERR_RESOURCE_EXHAUSTED));
}

static void test_positions(void)
{
	g_autoptr(TomlValue) doc =
	        parse("a = 1\n[t.'\xc3\xa9'.u]\n  b.c = [\n  7,\n  '''\n''', 8]\n[[l]]\nx = { y = 1 }");
	TomlValue *u = toml_get(toml_get(toml_get(doc, "t"), "\xc3\xa9"), "u");
	TomlValue *c = toml_get(toml_get(u, "b"), "c");

	g_assert_cmpuint(toml_line(u), ==, 2);
	g_assert_cmpuint(toml_column(u), ==, 8);
	g_assert_cmpuint(toml_line(c), ==, 3);
	g_assert_cmpuint(toml_column(c), ==, 5);
	g_assert_cmpuint(toml_line(toml_at(c, 0)), ==, 4);
	g_assert_cmpuint(toml_line(toml_at(c, 1)), ==, 5);
	g_assert_cmpuint(toml_line(toml_at(c, 2)), ==, 6);
	g_assert_cmpuint(toml_column(toml_at(c, 2)), ==, 6);
	g_autofree char *where = toml_where(toml_get(toml_get(toml_at(toml_get(doc, "l"), 0), "x"), "y"));
	g_assert_cmpstr(where, ==, "t:8");
	g_autoptr(TomlValue) made = toml_new_string("x");
	g_autofree char *nowhere = toml_where(made);
	g_assert_cmpstr(nowhere, ==, "<default>");
}

static void test_tables(void)
{
	g_autoptr(TomlValue) t = toml_new_table();

	// Enough keys that the index is used, and taken down again.
	for (int i = 0; i < 100; i++) {
		g_autofree char *key = g_strdup_printf("key%d", i);

		toml_set(t, key, toml_new_integer(i));
	}
	toml_set(t, "key50", toml_new_string("fifty"));
	g_assert_cmpuint(toml_size(t), ==, 100);
	g_assert_cmpstr(toml_key_at(t, 50), ==, "key50");
	g_assert_cmpstr(toml_string(toml_get(t, "key50")), ==, "fifty");
	g_assert_null(toml_get_typed(t, "key50", TOML_INTEGER));
	g_assert_null(toml_get(t, "key100"));
	g_assert_false(toml_remove(t, "key100"));
	for (int i = 0; i < 95; i++) {
		g_autofree char *key = g_strdup_printf("key%d", i);

		g_assert_true(toml_remove(t, key));
	}
	g_assert_cmpuint(toml_size(t), ==, 5);
	g_assert_cmpint(toml_integer(toml_get(t, "key97")), ==, 97);
	g_autoptr(TomlValue) stolen = toml_steal(t, "key97");
	g_assert_cmpint(toml_integer(stolen), ==, 97);
	g_assert_null(toml_get(t, "key97"));
	toml_clear(t);
	g_assert_true(toml_is_empty(t));
}

static void test_sort_and_compare(void)
{
	g_autoptr(TomlValue) a = parse("b = 1\na = [{z = 1, y = 2}]\nf = nan\n[t]\nd = 1\nc = 2\n");
	g_autoptr(TomlValue) b = toml_copy(a);
	g_autoptr(GString) text = g_string_new(NULL);

	toml_sort(b, true);
	g_assert_true(toml_equal(a, b));
	toml_write(text, b);
	g_assert_cmpstr(text->str, ==,
	                "b = 1\nf = nan\n\n[[a]]\n  y = 2\n  z = 1\n\n[t]\n  c = 2\n  d = 1\n");
	toml_set(b, "b", toml_new_float(1));
	g_assert_false(toml_equal(a, b));
	toml_set(b, "b", toml_new_integer(1));
	g_assert_true(toml_equal(a, b));
	toml_set(toml_get(b, "t"), "e", toml_new_boolean(true));
	g_assert_false(toml_equal(a, b));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/toml/valid", test_valid);
	g_test_add_func("/toml/invalid", test_invalid);
	g_test_add_func("/toml/nul-byte", test_nul_byte);
	g_test_add_func("/toml/bounds", test_bounds);
	g_test_add_func("/toml/positions", test_positions);
	g_test_add_func("/toml/tables", test_tables);
	g_test_add_func("/toml/sort-and-compare", test_sort_and_compare);
	return g_test_run();
}
