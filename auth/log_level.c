/* The level can also come from a file, because nobody can change a process's environment from
 * outside.
 */
#include "auth/log_level.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"

/* Reads the file into `word`, without trailing white space. Returns NULL, or the reason it
 * failed. */
static const char *read_word(const char *path, char *word, size_t size)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    size_t length;
    bool done;

    if (fd == -1)
        return strerror(errno);
    done = file_read(fd, word, size - 1, &length);
    close(fd);
    if (!done)
        return strerror(errno);
    while (length != 0 && strchr(" \t\r\n", word[length - 1]) != NULL)
        --length;
    word[length] = '\0';
    return NULL;
}

static enum log_level wanted(const struct settings *settings)
{
    const char *path = settings->log_level_file, *reason;
    enum log_level level = settings->log_level;
    char word[32];

    if (path == NULL)
        return level;
    reason = read_word(path, word, sizeof(word));
    if (reason == NULL && !log_level_parse(word, &level))
        reason = "write one word into it: error, warn, info or debug";
    if (reason != NULL)
        log_warn("log.level_file", log_str("path", path), log_str("reason", reason));
    return level;
}

void log_level_apply(const struct settings *settings)
{
    enum log_level before = log_level(), after = wanted(settings);
    const struct log_field fields[] = {log_str("from", log_level_name(before)),
                                       log_str("to", log_level_name(after))};

    log_set_level(after);
    if (after != before)
        log_always("log.level", fields, COUNT_OF(fields));
}
