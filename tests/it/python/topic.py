"""A topic with a queue that is subscribed to it, on a server that speaks SNS and SQS.

    topic.py ENDPOINT NAME make       makes both
    topic.py ENDPOINT NAME receive    prints each message of the queue as a line of JSON
"""

import json
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree

ACCOUNT = "000000000000"
REGION = "eu-west-1"


def asked(endpoint, service, **parameters):
    scope = f"Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    body = urllib.parse.urlencode(parameters).encode()
    request = urllib.request.Request(endpoint, body, {"Authorization": f"AWS4-HMAC-SHA256 {scope}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return xml.etree.ElementTree.fromstring(answer.read())


def main(endpoint, name, what):
    arn = lambda service: f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"
    if what == "make":
        asked(endpoint, "sns", Action="CreateTopic", Version="2010-03-31", Name=name)
        asked(endpoint, "sqs", Action="CreateQueue", Version="2012-11-05", QueueName=name)
        asked(endpoint, "sns", Action="Subscribe", Version="2010-03-31", TopicArn=arn("sns"), Protocol="sqs",
              Endpoint=arn("sqs"), **{"Attributes.entry.1.key": "RawMessageDelivery", "Attributes.entry.1.value": "true"})
        return
    queue = f"{endpoint}/{ACCOUNT}/{name}"
    answer = asked(endpoint, "sqs", Action="ReceiveMessage", Version="2012-11-05", QueueUrl=queue,
                   MaxNumberOfMessages="10")
    for body in answer.iter("{http://queue.amazonaws.com/doc/2012-11-05/}Body"):
        print(json.dumps(json.loads(body.text)))


main(*sys.argv[1:])
