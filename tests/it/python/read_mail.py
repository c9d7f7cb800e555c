"""Prints the mails to an address in a Maildir, oldest first: a line of JSON for each, with subject and text.

    read_mail.py MAILDIR ADDRESS
"""

import email
import email.policy
import json
import mailbox
import sys


def main(folder, address):
    box = mailbox.Maildir(folder, factory=lambda file: email.message_from_binary_file(file, policy=email.policy.default))
    mails = [it for it in box if it["to"] == address]
    for mail in sorted(mails, key=lambda it: it["date"].datetime):
        print(json.dumps({"subject": mail["subject"], "from": mail["from"], "text": mail.get_content()}))


main(*sys.argv[1:])
