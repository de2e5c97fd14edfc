"""Looks at a bucket of the tests' server, and changes it as an administrator or a thief would.

Usage: s3.py ENDPOINT COMMAND [ARGUMENT...]; the credentials come from the environment.
"""

import datetime
import json
import sys
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, command, *arguments = sys.argv[1:]
settings = {"endpoint_url": endpoint, "region_name": "us-east-1"}
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}), **settings)


def versions():
    page = s3.list_object_versions(Bucket="bucket")
    return page.get("Versions", []), page.get("DeleteMarkers", [])


def place(version):
    """The parameters that name a version. A bucket without versions has no name for its only one."""
    named = {} if version["VersionId"] == "null" else {"VersionId": version["VersionId"]}
    return {"Bucket": "bucket", "Key": version["Key"], **named}


def attempt(call, **parameters):
    """True if the server did it."""
    try:
        call(**parameters)
        return True
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False


if command == "make":
    s3.create_bucket(Bucket="bucket")
elif command == "list":
    found = []
    for version in versions()[0]:
        head = s3.head_object(**place(version))
        until = head.get("ObjectLockRetainUntilDate")
        days = until and (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
        mode, storage = head.get("ObjectLockMode"), head.get("StorageClass")
        found.append({"key": version["Key"], "mode": mode, "days": days, "storage": storage})
    print(json.dumps(found))
elif command == "get":
    sys.stdout.buffer.write(s3.get_object(Bucket="bucket", Key=arguments[0])["Body"].read())
elif command == "steal":
    # Every way to destroy data; prints how many of them the server took.
    done = 0
    for item in s3.list_objects_v2(Bucket="bucket")["Contents"]:
        # The key of a machine may not list versions, but a look at an object shows its own.
        head = s3.head_object(Bucket="bucket", Key=item["Key"])
        version = {"Key": item["Key"], "VersionId": head.get("VersionId", "null")}
        done += attempt(s3.delete_object, BypassGovernanceRetention=True, **place(version))
        if "markers" not in arguments:
            done += attempt(s3.delete_object, Bucket="bucket", Key=version["Key"])
    if "markers" not in arguments:
        suspended = {"Status": "Suspended"}
        done += attempt(s3.put_bucket_versioning, Bucket="bucket", VersioningConfiguration=suspended)
        done += attempt(s3.delete_bucket, Bucket="bucket")
    print(done)
elif command == "hide":
    for version in versions()[0]:
        s3.delete_object(Bucket="bucket", Key=version["Key"])
elif command == "unhide":
    for marker in versions()[1]:
        s3.delete_object(Bucket="bucket", Key=marker["Key"], VersionId=marker["VersionId"])
elif command == "age":
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=int(arguments[0]))
    for version in versions()[0]:
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        s3.put_object_retention(Bucket="bucket", Key=version["Key"], Retention=retention)
elif command == "user":
    iam = boto3.client("iam", **settings)
    name, policy = arguments
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    print(json.dumps({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}))
elif command == "slow":
    # A thaw is under way until it was looked at so often.
    body = {"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": int(arguments[0])}}
    request = urllib.request.Request(
        f"{endpoint}/moto-api/state-manager/set-transition", json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request)
else:
    sys.exit(f"unknown command {command}")
