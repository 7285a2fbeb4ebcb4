"""How the Blobs and Secrets adapters are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

BLOBS = "test_blobs.py::test_"
SECRETS = "test_secrets.py::test_"


def memory(port: str, name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory {port}: {name}", f"backends/memory/{port}.py", old, new, test, "memory")


def local(port: str, name: str, old: str, new: str, test: str, only: str = "") -> Breakage:
    return Breakage(f"local {port}: {name}", f"backends/local/{port}.py", old, new, test, only)


def keys(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"blob keys: {name}", "core/kernel/blobs.py", old, new, test, "files or memory")


def s3(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"s3 blobs: {name}", "backends/aws/blobs.py", old, new, f"{BLOBS}{test}", "s3")


BREAKAGES = (
    local(
        "blobs",
        "a taken key is overwritten",
        "                if not path.exists():\n"
        "                    _write_new_file(unfinished, content)\n"
        "                    with contextlib.suppress(FileExistsError):\n"
        "                        os.link(unfinished, path)\n"
        "                        stored = True\n",
        "                _write_new_file(unfinished, content)\n"
        "                os.replace(unfinished, path)\n"
        "                stored = True\n",
        f"{BLOBS}taken_key_is_false_and_keeps_its_content",
        "files",
    ),
    local(
        "blobs",
        "of two writers at once both store",
        "                    with contextlib.suppress(FileExistsError):\n"
        "                        os.link(unfinished, path)\n"
        "                        stored = True\n",
        "                    os.replace(unfinished, path)\n                    stored = True\n",
        f"{BLOBS}of_many_writers_of_one_key_exactly_one_stores",
        "files",
    ),
    keys(
        "keys are not checked",
        "if len(key) > KEY_MAX or _KEY.fullmatch(key) is None:",
        "if not key:",
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    keys(
        "keys are checked only at their beginning",
        "_KEY.fullmatch(key)",
        "_KEY.match(key)",
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    keys(
        "letters of any alphabet are taken",
        ", re.ASCII)",
        ")",
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    keys(
        "keys may be of any length",
        "len(key) > KEY_MAX or ",
        "",
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    local(
        "blobs",
        "a key cannot be the beginning of others",
        '_MARK = "="',
        '_MARK = ""',
        f"{BLOBS}key_may_also_be_the_beginning_of_others",
        "files",
    ),
    local(
        "blobs",
        "folders sort by their name alone",
        "for name in sorted(names):",
        'for name in sorted(names, key=lambda one: one.rstrip("/")):',
        f"{BLOBS}list_is_in_bytewise_order_of_the_whole_key",
        "files",
    ),
    local(
        "blobs",
        "folders of the key listed behind are passed over",
        "(name > after or after.startswith(name))",
        "name > after",
        f"{BLOBS}pages_behind_the_last_key_seen_show_every_key_once",
        "files",
    ),
    local(
        "blobs",
        "the prefix is a folder",
        "if name.startswith(prefix) and name > after:",
        'if name.startswith(prefix.rpartition("/")[0]) and name > after:',
        f"{BLOBS}list_gives_exactly_the_keys_that_start_with_the_prefix",
        "files",
    ),
    local(
        "blobs",
        "unfinished files are listed",
        "elif entry.name != _UNFINISHED:",
        "else:",
        f"{BLOBS}unfinished_folder_is_not_listed_even_with_a_finished_name_in_it",
    ),
    local(
        "blobs",
        "unfinished files are left behind",
        "unfinished.unlink(missing_ok=True)",
        "pass",
        f"{BLOBS}no_unfinished_file_is_left_behind",
    ),
    local(
        "blobs",
        "everybody may read",
        "os.O_WRONLY | os.O_CLOEXEC, 0o600)",
        "os.O_WRONLY | os.O_CLOEXEC, 0o644)",
        f"{BLOBS}files_and_folders_are_their_owners_only",
    ),
    local(
        "blobs",
        "the machine's own errors come through",
        'raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error',
        "raise",
        f"{BLOBS}unusable_folder_is_unavailable",
    ),
    local(
        "blobs",
        "content is not synchronised before it is there",
        "os.fsync(file.fileno())",
        "pass",
        f"{BLOBS}content_then_its_name_are_synchronised_before_put_returns",
    ),
    local(
        "blobs",
        "the name is not synchronised",
        "            _sync_folder(path.parent)\n        except",
        "        except",
        f"{BLOBS}content_then_its_name_are_synchronised_before_put_returns",
    ),
    memory(
        "blobs",
        "a taken key is overwritten",
        "        if key in self._blobs:\n            return False\n",
        "",
        f"{BLOBS}taken_key_is_false_and_keeps_its_content",
    ),
    memory(
        "blobs",
        "keys are not checked when reading",
        "        check_key(key)\n        return self._blobs.get(key)",
        "        return self._blobs.get(key)",
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    keys(
        "words of dots are taken",
        r'rf"(?!\.+(?:/|\Z))[\w.-]',
        r'rf"[\w.-]',
        f"{BLOBS}bad_key_is_invalid_and_nothing_is_stored",
    ),
    s3(
        "a taken key is overwritten",
        ', "IfNoneMatch": "*"}',
        "}",
        "taken_key_is_false_and_keeps_its_content",
    ),
    s3(
        "keys are not checked when reading",
        "        check_key(key)\n        answer = await self._object",
        "        answer = await self._object",
        "bad_key_is_invalid_and_nothing_is_stored",
    ),
    s3(
        "a list begins at the beginning",
        '            asked["StartAfter"] = f"{self._prefix}{after}"',
        "            pass",
        "list_goes_on_behind_a_key_that_need_not_be_there",
    ),
    s3(
        "the prefix is not looked at",
        '"Prefix": f"{self._prefix}{prefix}"',
        '"Prefix": self._prefix',
        "list_gives_exactly_the_keys_that_start_with_the_prefix",
    ),
    memory(
        "blobs",
        "lists are in no order",
        "return sorted(key for",
        "return list(key for",
        f"{BLOBS}list_is_in_bytewise_order_of_the_whole_key",
    ),
    local(
        "secrets",
        "everybody may read",
        "os.O_WRONLY | os.O_CLOEXEC, 0o600)",
        "os.O_WRONLY | os.O_CLOEXEC, 0o666)",
        f"{SECRETS}file_is_made_readable_by_its_owner_only",
    ),
    local(
        "secrets",
        "a file that others can read is read",
        "if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):",
        "if found.st_mode & stat.S_IRWXO:",
        f"{SECRETS}file_that_others_can_reach_is_refused_and_the_error_says_what_to_do",
    ),
    local(
        "secrets",
        "a file is looked at only once",
        "if _seal(found) != self._read_at:",
        "if self._read_at is None:",
        f"{SECRETS}change_made_elsewhere_is_seen_after_values_were_read_before",
        "file",
    ),
    local(
        "secrets",
        "a change is told by the file's size",
        "return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size",
        "return 0, 0, 0, found.st_size",
        f"{SECRETS}change_made_elsewhere_is_seen_after_values_were_read_before",
        "file",
    ),
    local(
        "secrets",
        "two writers at once lose each other's changes",
        "fcntl.flock(lock, fcntl.LOCK_EX)",
        "pass",
        f"{SECRETS}puts_of_different_names_at_once_are_all_kept",
        "file",
    ),
    local(
        "secrets",
        "a put forgets the other names",
        "content = self._read()[0] if self._path.exists() else {}",
        "content: _Content = {}",
        f"{SECRETS}put_replaces_the_values_of_that_name_only",
        "file",
    ),
    local(
        "secrets",
        "the file is written in place",
        "            fresh.replace(self._path)\n",
        "            fresh.unlink()\n            self._path.write_bytes(content)\n",
        f"{SECRETS}file_is_replaced_and_never_written_in_place",
    ),
    local(
        "secrets",
        "content is not synchronised before it is there",
        "os.fsync(file.fileno())",
        "pass",
        f"{SECRETS}content_then_its_name_are_synchronised_before_put_returns",
    ),
    local(
        "secrets",
        "the name is not synchronised",
        "os.fsync(lock)",
        "pass",
        f"{SECRETS}content_then_its_name_are_synchronised_before_put_returns",
    ),
    local(
        "secrets",
        "a failed write leaves its file behind",
        "            fresh.unlink(missing_ok=True)\n",
        "",
        f"{SECRETS}failed_write_leaves_the_old_file_and_no_other",
    ),
    local(
        "secrets",
        "a damaged file is quoted",
        "            ) from None",
        "            ) from ValueError(raw)",
        f"{SECRETS}damaged_file_is_refused_kept_and_not_quoted",
    ),
    local(
        "secrets",
        "the list kept is handed out",
        "return list(self._values.get(name, ()))",
        "return self._values.get(name, [])",
        f"{SECRETS}changing_the_list_given_or_got_changes_nothing",
        "file",
    ),
    memory(
        "secrets",
        "the caller's list is kept",
        "self._values[name] = list(values)",
        "self._values[name] = values",
        f"{SECRETS}changing_the_list_given_or_got_changes_nothing",
    ),
    memory(
        "secrets",
        "values are added, not replaced",
        "self._values[name] = list(values)",
        "self._values[name] = [*values, *self._values.get(name, [])]",
        f"{SECRETS}put_replaces_the_values_of_that_name_only",
    ),
)
