/* Ownership of files that root creates in another user's directory, and giving up root before
 * reading one. */
#ifndef COMMON_OWNER_H
#define COMMON_OWNER_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"

/* Gives a file that root created in another user's directory to that user, if root may: a server
 * running as that user can then use what an operator's command left. Otherwise changes nothing.
 * `fd` may be -1; it must not have been opened through a link that the other user could have placed
 * there. */
void owner_inherit(int fd, int directory);

/* For a command, before it reads a directory: root becomes the owner of the directory, for good, so
 * that nothing in it can make the command do what that user could not. Changes nothing when root
 * owns it, when this process is not root, or when the directory does not exist. */
MUST_USE bool owner_become(const char *directory, struct failure *failure);

#endif
