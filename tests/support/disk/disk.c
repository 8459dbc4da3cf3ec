/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is watched, and which fault strikes when. See disk.h. */

#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FDS 4096

typedef enum {
  FAULT_NONE,
  FAULT_KILL,
  FAULT_TORN,
  FAULT_EIO,
  FAULT_THIN,
  FAULT_ENOSPC,
} Fault;

static const char *fault_names[] = { "none", "kill", "torn", "eio", "thin", "enospc" };
static const char *class_names[] = { "write", "sync", "name" };

static pthread_once_t  once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Written once, before anything else. */
static char            root[PATH_MAX];
static Fault           fault;
static int             fault_class = -1;
static unsigned long   fault_at;
static const char     *switch_path;
static bool            no_sync;
static ino_t           bad_file;    /* 0: none */
static off_t           bad_at;

/* Under the lock. */
static unsigned long   count;
static bool            full;
static uint64_t        quota;       /* bytes, once it is full */
static struct {
  dev_t  device;
  ino_t  file;
  char  *directory;
} watched[MAX_FDS];

static void
complain (const char *what,
          const char *value)
{
  dprintf (2, "disk: %s: %s\n", what, value);
  _exit (120);
}

static void
parse_fault (const char *text)
{
  char kind[16], class[16] = "";
  size_t i;

  if (sscanf (text, "%15[a-z]@%lu:%15[a-z]", kind, &fault_at, class) < 2)
    complain ("EVBUS_DISK_FAULT is not KIND@N or KIND@N:CLASS", text);
  for (i = 0; i < sizeof fault_names / sizeof *fault_names; i++)
    if (strcmp (kind, fault_names[i]) == 0)
      fault = i;
  for (i = 0; i < sizeof class_names / sizeof *class_names; i++)
    if (strcmp (class, class_names[i]) == 0)
      fault_class = i;
  if (fault == FAULT_NONE || (*class != '\0' && fault_class < 0))
    complain ("no such fault", text);
}

static void
parse_bad (const char *text)
{
  unsigned long file, at;

  if (sscanf (text, "%lu:%lu", &file, &at) != 2)
    complain ("EVBUS_DISK_BAD is not INODE:OFFSET", text);
  bad_file = file;
  bad_at = at;
}

static void
set_up (void)
{
  const char *folder = getenv ("EVBUS_DISK_FOLDER");
  const char *text = getenv ("EVBUS_DISK_FAULT");
  const char *log = getenv ("EVBUS_DISK_LOG");
  const char *bad = getenv ("EVBUS_DISK_BAD");

  if (folder == NULL)
    return;
  if (realpath (folder, root) == NULL)
    complain ("EVBUS_DISK_FOLDER is not there", folder);
  if (text != NULL)
    parse_fault (text);
  if (bad != NULL)
    parse_bad (bad);
  switch_path = getenv ("EVBUS_DISK_SWITCH");
  no_sync = getenv ("EVBUS_DISK_NO_SYNC") != NULL;
  if (log != NULL)
    disk_log_open (log);
}

bool
disk_ready (void)
{
  int saved = errno;

  pthread_once (&once, set_up);
  errno = saved;
  return *root != '\0';
}

void
disk_lock (void)
{
  pthread_mutex_lock (&lock);
}

void
disk_unlock (void)
{
  pthread_mutex_unlock (&lock);
}

/* The absolute path in which all but the last name is resolved. */
static bool
resolve (int         dirfd,
         const char *path,
         char       *absolute)
{
  char whole[2 * PATH_MAX], folder[PATH_MAX], link[64];
  char *slash;
  ssize_t length;

  if (*path == '/' || dirfd == AT_FDCWD)
    snprintf (whole, sizeof whole, "%s%s", *path == '/' ? "" : "./", path);
  else
    {
      snprintf (link, sizeof link, "/proc/self/fd/%d", dirfd);
      length = readlink (link, folder, sizeof folder - 1);
      if (length < 0)
        return false;
      snprintf (whole, sizeof whole, "%.*s/%s", (int) length, folder, path);
    }
  for (slash = whole + strlen (whole) - 1; slash > whole && *slash == '/'; slash--)
    *slash = '\0';
  slash = strrchr (whole, '/');
  if (slash == whole || strcmp (slash, "/.") == 0 || strcmp (slash, "/..") == 0)
    return realpath (whole, absolute) != NULL;
  *slash = '\0';
  if (realpath (whole, absolute) == NULL || strlen (absolute) + strlen (slash + 1) + 2 > PATH_MAX)
    return false;
  strcat (strcat (absolute, "/"), slash + 1);
  return true;
}

bool
disk_locate (int         dirfd,
             const char *path,
             char       *relative)
{
  char absolute[PATH_MAX];
  size_t length = strlen (root);
  int saved = errno;
  bool found;

  found = path != NULL && *path != '\0' && resolve (dirfd, path, absolute) &&
          strncmp (absolute, root, length) == 0 &&
          (absolute[length] == '/' || absolute[length] == '\0');
  errno = saved;
  if (found)
    strcpy (relative, absolute + length + (absolute[length] == '/'));
  return found;
}

void
disk_track (int         fd,
            const char *relative)
{
  struct stat found;

  if (fd >= MAX_FDS)
    complain ("a descriptor above what can be watched", relative);
  if (fstat (fd, &found) != 0)
    return;
  free (watched[fd].directory);
  watched[fd].device = found.st_dev;
  watched[fd].file = found.st_ino;
  watched[fd].directory = S_ISDIR (found.st_mode) ? strdup (relative) : NULL;
}

/* Nobody says here when a descriptor is closed: whether it is still that file is
 * asked each time. */
bool
disk_find (int           fd,
           struct stat  *found,
           const char  **directory)
{
  int saved = errno;
  bool same;

  if (fd < 0 || fd >= MAX_FDS || watched[fd].file == 0)
    return false;
  same = fstat (fd, found) == 0 && found->st_dev == watched[fd].device && found->st_ino == watched[fd].file;
  errno = saved;
  if (!same)
    return false;
  if (directory != NULL)
    *directory = watched[fd].directory;
  return true;
}

static uint64_t
usage_of (int fd)
{
  DIR *folder = fdopendir (fd);
  struct dirent *entry;
  struct stat found;
  uint64_t sum = 0;

  if (folder == NULL)
    return 0;
  while ((entry = readdir (folder)) != NULL)
    {
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0 ||
          fstatat (dirfd (folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      if (S_ISDIR (found.st_mode))
        sum += usage_of (syscall (SYS_openat, dirfd (folder), entry->d_name, O_RDONLY | O_CLOEXEC, 0));
      else
        sum += found.st_blocks * 512 > found.st_size ? found.st_blocks * 512 : found.st_size;
    }
  closedir (folder);
  return sum;
}

static uint64_t
usage (void)
{
  return usage_of (syscall (SYS_openat, AT_FDCWD, root, O_RDONLY | O_CLOEXEC, 0));
}

static bool
is_on (void)
{
  return switch_path == NULL || syscall (SYS_faccessat, AT_FDCWD, switch_path, F_OK) == 0;
}

void
disk_die (void)
{
  kill (getpid (), SIGKILL);
  for (;;)
    pause ();
}

int
disk_enter (DiskClass class)
{
  bool now;

  if (fault == FAULT_NONE || (fault_class >= 0 && fault_class != (int) class))
    return DISK_GO;
  count++;
  now = count == fault_at;
  switch (fault)
    {
    case FAULT_KILL:
      if (now)
        disk_die ();
      break;
    case FAULT_TORN:
      if (now && class != DISK_WRITE)
        disk_die ();
      return now ? DISK_TORN : DISK_GO;
    case FAULT_EIO:
    case FAULT_THIN:
      if (now || (switch_path != NULL && count > fault_at && is_on ()))
        return fault == FAULT_EIO ? EIO : ENOSPC;
      break;
    case FAULT_ENOSPC:
      if (now)
        {
          full = true;
          quota = usage ();
        }
      break;
    case FAULT_NONE:
      break;
    }
  return DISK_GO;
}

size_t
disk_space (size_t wanted)
{
  uint64_t used;

  if (!full || wanted == 0 || !is_on ())
    return wanted;
  used = usage ();
  if (used >= quota)
    return 0;
  return quota - used < wanted ? quota - used : wanted;
}

bool
disk_syncs (void)
{
  return !no_sync;
}

bool
disk_is_bad (int    fd,
             off_t  offset,
             size_t size)
{
  struct stat found;

  return disk_ready () && bad_file != 0 && offset <= bad_at && bad_at < offset + (off_t) size &&
         fstat (fd, &found) == 0 && found.st_ino == bad_file;
}
