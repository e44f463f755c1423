#include "common/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void owner_inherit(int fd, int directory)
{
    struct stat status;

    if (fd != -1 && geteuid() == 0 && fstat(directory, &status) == 0 && status.st_uid != 0 &&
        fchown(fd, status.st_uid, status.st_gid) == -1)
        return; /* root may not (no CAP_CHOWN): the file stays root's */
}

/* Takes the user's groups; without an entry in the user database, the directory's group. */
static bool become(uid_t uid, gid_t group)
{
    const struct passwd *user = getpwuid(uid);
    gid_t gid = user != NULL ? user->pw_gid : group;

    return (user != NULL ? initgroups(user->pw_name, gid) : setgroups(1, &gid)) == 0 &&
           setgid(gid) == 0 && setuid(uid) == 0;
}

bool owner_become(const char *directory, struct failure *failure)
{
    struct stat status;

    if (geteuid() != 0 || stat(directory, &status) == -1 || status.st_uid == 0 ||
        become(status.st_uid, status.st_gid))
        return true;
    return failure_set(failure, "cannot become user %u, whose %s is: %s; run this as that user",
                       status.st_uid, directory, strerror(errno));
}
