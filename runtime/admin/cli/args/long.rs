//! What `--help` says of verbs about which there is more to say than a line.

pub(super) const DEMO: &str = "\
Show in under a minute what Replug promises, and measure in that run whether it keeps it

Runtimes of its own serve modules of its own on free ports, over a temporary folder: nothing else is needed, used or changed. It
shows a gradual and an instant activation under load, a rollback, limits, and the recovery after a kill, and ends with a table:
0 every promise was kept, 1 one was not. With --json the table is {\"outcome\": \"kept\"|\"broken\", \"seconds\", \"promises\":
[{\"chapter\", \"promised\", \"seen\", \"kept\"}]}. It uses no --data.";

pub(super) const WATCH: &str = "\
Show what happens as it happens; of a module, until the activation in flight ends; of an operation, until it ends

Of a module it ends with the activation: 0 the version serves, 3 it was rolled back, 1 it failed. If nothing is in flight it
waits for the next activation. Of an operation, as `activate --no-wait` names it, it ends with that one, at once if it is over, and
shows what the command would have shown. With --json each event is a document on a line of its own, and an operation's result the last.";

pub(super) const PERMISSIONS: &str = "\
Show what a module asks for, and decide what is given of it

A version of which something waits is not activated. `grant ID` alone grants all that waits of the newest version, or of ID@V;
granting does not activate. `grant` and `deny` take permissions as `show` writes them; `narrow` takes the parts that are given:
  replug permissions show mailer
  replug permissions grant mailer system.network:smtp.x.org:465
  replug permissions narrow mailer system.network:api.x.org:443 resources.storage.max=32MiB
  replug permissions deny mailer system.environment:HOME
A decision holds for every version that asks for no more, and meets what runs at its next host call.";

pub(super) const TOP: &str = "\
Show what modules use of memory, processor, network and disk, beside what they may

CORES and CALLS/S are of the last two seconds; what is counted is counted since the module first ran in this process. IN and OUT are the
bodies of what it was asked and answered, and the wire of what it asked others. OF is the quota of what stands before it.";

pub(super) const BACKUP: &str = "\
Write everything that the runtime is brought back with to one file, while it serves

It holds the records of the store as of one moment, the bundles, each module's database and files, and the secret of webhooks: keep it
as safe as the data directory. The audit log and the admin token are not in it. The file is looked through before it gets its name.
The server needs as much room in its data directory meanwhile.";

pub(super) const RESTORE: &str = "\
Put what a backup holds into a data directory in which no runtime runs

The backup is looked through to its end before anything is changed. A directory that holds something is refused; with --replace that is
moved into a folder `before-TIME` in it, and nothing is removed. What is cut off is gone on with by the next `restore` or `serve`. The
directory's audit log goes on and says what was restored.";
