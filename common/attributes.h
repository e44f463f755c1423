/* Compiler checks that every module uses. */
#ifndef COMMON_ATTRIBUTES_H
#define COMMON_ATTRIBUTES_H

/* The result says whether it worked: ignoring it is a warning, and warnings are errors. */
#define MUST_USE __attribute__((warn_unused_result))

/* A printf-like function: the format is argument number `text`, its values start at `first`. */
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
