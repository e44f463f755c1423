/* Reads the key directory. key_file.c changes it; key_material.c parses the files. */
#include "auth/token/key_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "auth/token/key_material.h"
#include "auth/token/key_name.h"
#include "auth/token/key_proof.h"
#include "common/file.h"
#include "common/log.h"
#include "common/private_memory.h"

#define FILE_MAX      (16 * 1024) /* bytes per key file */
#define LOAD_ATTEMPTS 10

/* Two sets of maximum size, the current and the next, leave half of the private memory to OpenSSL
 * for signing. */
_Static_assert(4 * KEY_SET_MAX * FILE_MAX <= PRIVATE_MEMORY_BYTES, "there is room for keys");

/* One scan of the directory. */
struct listing {
    size_t count;         /* of .pem files; `files` holds the first KEY_SET_MAX */
    uint64_t fingerprint; /* never 0 */
    struct listed_file {
        char name[NAME_MAX + 1];
        bool open_to_others;
        struct failure skipped; /* why; empty: the file is used */
    } files[KEY_SET_MAX];
};

enum reading {
    READ_DONE,
    READ_SKIP, /* the file is unusable until it changes */
    READ_STOP, /* out of some system resource; the file may be fine */
};

/* Scanning the directory */

/* FNV-1a */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; ++i)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

/* ctime also changes when a new mode or owner makes the file readable. */
static uint64_t hash_file(const char *name, const struct stat *status)
{
    const int64_t facts[] = {status->st_size, status->st_mtim.tv_sec, status->st_mtim.tv_nsec,
                             status->st_ctim.tv_sec, status->st_ctim.tv_nsec};

    return hash_bytes(hash_bytes(0xcbf29ce484222325u, name, strlen(name)), facts, sizeof(facts));
}

/* Group read access does not count when this process itself needs it, as for a secret mounted by
 * Kubernetes (0440, root:fsGroup). */
static bool is_open_to_others(const struct stat *status)
{
    mode_t others = S_IRWXG | S_IRWXO;

    if (status->st_uid != geteuid() && group_member(status->st_gid))
        others &= ~(mode_t)S_IRGRP;
    return (status->st_mode & others) != 0;
}

static void list_file(struct listing *listing, int directory_fd, const char *name)
{
    struct stat status;

    /* Follow symbolic links: Kubernetes mounts each key of a secret as one. The file is read only
     * if they stay inside the directory. */
    if (fstatat(directory_fd, name, &status, 0) != 0)
        memset(&status, 0, sizeof(status)); /* dangling, or gone */
    /* A sum, because readdir returns names in no particular order. */
    listing->fingerprint += hash_file(name, &status);
    if (listing->count < KEY_SET_MAX) {
        struct listed_file *file = &listing->files[listing->count];

        snprintf(file->name, sizeof(file->name), "%s", name);
        file->open_to_others = is_open_to_others(&status);
        file->skipped.reason[0] = '\0';
    }
    ++listing->count;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct listed_file *)a)->name, ((const struct listed_file *)b)->name);
}

/* The mode bits that let others than the owner write to the directory. On a read-only mount the
 * mode means nothing: Kubernetes mounts secrets read-only with mode 1777 or 3777. */
static mode_t writers(const char *directory)
{
    struct stat status;
    struct statvfs mount;

    if (stat(directory, &status) != 0 || statvfs(directory, &mount) != 0 ||
        (mount.f_flag & ST_RDONLY) != 0)
        return 0;
    return status.st_mode & (S_IWGRP | S_IWOTH);
}

bool key_directory_check(const char *directory, struct failure *failure)
{
    return (writers(directory) & S_IWOTH) == 0 ||
           failure_set(failure,
                       "everybody may write to the key directory %s, and so put a key there that "
                       "signs; look which keys are ours, then chmod o-w",
                       directory);
}

static bool list_directory(const char *directory, struct listing *listing, struct failure *failure)
{
    DIR *stream;
    struct dirent *entry;
    int error;

    if (!key_directory_check(directory, failure))
        return false;
    if ((stream = opendir(directory)) == NULL)
        return failure_set(failure, "cannot read the key directory %s: %s%s", directory,
                           strerror(errno),
                           errno == ENOENT ? "; JOTD_KEYS_DIR says where it is, and `jotd key "
                                             "create` makes it with its first key"
                                           : "");
    listing->count = 0;
    listing->fingerprint = 0;
    while (errno = 0, (entry = readdir(stream)) != NULL) {
        if (key_name_counts(entry->d_name))
            list_file(listing, dirfd(stream), entry->d_name);
    }
    error = errno;
    closedir(stream);
    if (error != 0)
        return failure_set(failure, "cannot read the key directory %s: %s", directory,
                           strerror(error));
    if (listing->fingerprint == 0)
        listing->fingerprint = 1;
    return true;
}

uint64_t key_directory_fingerprint(const char *directory)
{
    struct listing listing;
    struct failure failure;

    return list_directory(directory, &listing, &failure) ? listing.fingerprint : 0;
}

/* Reading the keys */

static enum reading stopped_by(int error)
{
    return error == FILE_REFUSED || error == ENOENT || error == EACCES || error == EPERM
               ? READ_SKIP
               : READ_STOP;
}

/* Reads a whole file of at most FILE_MAX bytes into `text` (FILE_MAX + 1 bytes) and adds a NUL. */
static enum reading read_file(int directory_fd, const char *name, char *text,
                              struct failure *failure)
{
    size_t length;
    enum reading reading = READ_DONE;
    int fd = file_open_given(directory_fd, name, FILE_MAX, failure);

    if (fd < 0)
        return stopped_by(errno);
    if (!file_read(fd, text, FILE_MAX, &length)) {
        reading = stopped_by(errno);
        failure_set(failure, "%s", strerror(errno));
    }
    text[length] = '\0';
    close(fd);
    return reading;
}

static enum reading read_key(struct key_set *set, int directory_fd, const char *name,
                             struct failure *failure)
{
    struct signing_key key = {0};
    enum reading reading;
    char *text;

    if (!key_name_parse(name, &key)) {
        failure_set(failure, "its name is not <kid>.<alg>.<activate>[.<retire>].pem");
        return READ_SKIP;
    }
    if (key_set_find(set, key.kid) != NULL) {
        failure_set(failure, "another file holds this key");
        return READ_SKIP;
    }
    if ((text = OPENSSL_secure_zalloc(FILE_MAX + 1)) == NULL) {
        failure_set(failure, "out of memory");
        return READ_STOP;
    }
    reading = read_file(directory_fd, name, text, failure);
    if (reading == READ_DONE && !key_material_read(&key, text, failure))
        reading = READ_SKIP;
    key_material_free(text, FILE_MAX + 1);
    if (reading == READ_DONE && !key_proof(&key)) {
        failure_set(failure, "libjwt does not verify what it signs");
        key_dispose(&key);
        reading = READ_SKIP;
    }
    if (reading == READ_DONE)
        set->keys[set->count++] = key;
    return reading;
}

static int compare_keys(const void *first, const void *second)
{
    const struct signing_key *a = first, *b = second;

    if (a->activate_at != b->activate_at)
        return a->activate_at < b->activate_at ? -1 : 1;
    return strcmp(a->kid, b->kid);
}

static bool read_keys(struct key_set *set, const char *directory, struct listing *listing,
                      struct failure *failure)
{
    enum reading reading = READ_DONE;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return failure_set(failure, "cannot read the key directory %s: %s", directory,
                           strerror(errno));
    for (size_t i = 0; i < listing->count && reading != READ_STOP; ++i) {
        struct listed_file *file = &listing->files[i];

        reading = read_key(set, fd, file->name, &file->skipped);
        if (reading == READ_STOP)
            failure_set(failure, "cannot read the key %s/%.100s: %.100s", directory, file->name,
                        file->skipped.reason);
    }
    close(fd);
    qsort(set->keys, set->count, sizeof(set->keys[0]), compare_keys);
    return reading != READ_STOP;
}

static struct key_set *read_listed(const char *directory, struct listing *listing,
                                   struct failure *failure)
{
    struct key_set *set;

    if (!list_directory(directory, listing, failure))
        return NULL;
    if (listing->count > KEY_SET_MAX) {
        failure_set(failure,
                    "the key directory %s holds %zu keys, %d are allowed; run `jotd key prune`",
                    directory, listing->count, KEY_SET_MAX);
        return NULL;
    }
    /* Sorted, so that of two files for one key the same one always wins. */
    qsort(listing->files, listing->count, sizeof(listing->files[0]), compare_files);
    if ((set = calloc(1, sizeof(*set))) == NULL) {
        failure_set(failure, "out of memory");
        return NULL;
    }
    set->references = 1;
    set->fingerprint = listing->fingerprint;
    if (read_keys(set, directory, listing, failure))
        return set;
    key_set_release(set);
    return NULL;
}

static void log_files(const char *directory, const struct listing *listing)
{
    if ((writers(directory) & S_IWGRP) != 0)
        log_warn("keys.permissions", log_str("directory", directory),
                 log_str("reason", "its group may put a key there that signs; chmod g-w"));
    for (size_t i = 0; i < listing->count; ++i) {
        const struct listed_file *file = &listing->files[i];

        if (file->skipped.reason[0] != '\0')
            log_warn("key.skipped", log_str("file", file->name),
                     log_str("reason", file->skipped.reason));
        else if (file->open_to_others)
            log_warn("key.permissions", log_str("file", file->name),
                     log_str("reason", "others than its owner may use it; chmod 600"));
    }
}

/* A key renamed during the scan may show up under its old name, its new name or not at all. A
 * signing key must not seem to vanish that way, so a scan counts only if the directory is unchanged
 * after it. */
struct key_set *key_directory_load(const char *directory, struct failure *failure)
{
    struct listing listing;

    for (int i = 0; i < LOAD_ATTEMPTS; ++i) {
        struct key_set *set = read_listed(directory, &listing, failure);

        if (set == NULL)
            return NULL;
        if (key_directory_fingerprint(directory) == set->fingerprint) {
            log_files(directory, &listing);
            return set;
        }
        key_set_release(set);
    }
    failure_set(failure, "the key directory %s changes faster than it can be read; try again",
                directory);
    return NULL;
}
