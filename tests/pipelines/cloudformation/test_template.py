"""The stack's template: what CloudFormation takes, and what each role may do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components.spec import specs
from pipelines import batch
from pipelines.aws.places import Rendered
from pipelines.cloudformation import render
from pipelines.manifest import UseCase
from shared.errors import SettingsError
from tests.aws.data import STORAGE
from tests.pipelines.cloudformation.conftest import NETWORK, TOPIC, Rendering

ROOT = Path(__file__).parents[3]
READS = re.compile(r"[a-z0-9]+:(Batch(Get|Check)|Describe|Get|List)")
LAST = "      early_stopping_rounds: 20\n"
"""Where the algorithm's settings end."""
WITHOUT_RESOURCE = {
    "batch:DescribeJobs", "batch:TerminateJob", "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken",
    "sagemaker:SendPipelineExecutionStepFailure", "sagemaker:SendPipelineExecutionStepSuccess",
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
}  # fmt: skip
"""Actions for which the service authorization reference has no resource type, or none that is known beforehand."""


def template_of(rendered: Rendered) -> dict[str, Any]:
    """The template as CloudFormation reads it."""
    return dict(json.loads(rendered.files["template.json"]))


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The properties of the resources of a type, by name."""
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == kind
    }


def statements(template: Mapping[str, Any], role: str) -> Iterator[dict[str, Any]]:
    """What a role may do."""
    for policy in template["Resources"][role]["Properties"].get("Policies", ()):
        yield from policy["PolicyDocument"]["Statement"]


def linted(*paths: Path) -> subprocess.CompletedProcess[str]:
    """cfn-lint's opinion, warnings included."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cfn_lint_finds_nothing_not_even_a_warning(engine: str, rendered: Rendering, tmp_path: Path) -> None:
    for environment in (None, "prod"):
        path = tmp_path / f"{environment}.json"
        path.write_bytes(rendered(engine, environment=environment).files["template.json"])

    done = linted(tmp_path / "None.json", tmp_path / "prod.json")
    assert (done.returncode, done.stdout) == (0, "")


def test_cfn_lint_finds_nothing_in_the_account_s_template() -> None:
    done = linted(ROOT / "infrastructure/account.yaml")

    assert (done.returncode, done.stdout) == (0, "")


def test_the_same_manifest_gives_the_same_bytes(engine: str, rendered: Rendering) -> None:
    assert rendered(engine) == rendered(engine)


def test_a_template_can_be_sent_with_the_request(engine: str, rendered: Rendering) -> None:
    assert len(rendered(engine).files["template.json"]) <= 51_200


def test_a_long_template_goes_without_the_spaces_that_people_like(rendered: Rendering) -> None:
    """On two kinds of machines, under long names."""
    long = (
        ("name: flights\n", f"name: {'n' * 24}\n"),
        (LAST, f"{LAST}    train: {{instance: ml.g5.xlarge, spot: true}}\n    serve: {{instance: ml.g5.xlarge}}\n"),
    )
    content = rendered("step-functions on Batch", *long, environment="prod").files["template.json"]

    assert len(json.dumps(json.loads(content), indent=1)) > 51_200
    assert len(content) <= 51_200


def test_every_definition_that_the_stack_names_is_uploaded_before_it(engine: str, rendered: Rendering) -> None:
    found = rendered(engine)
    template = template_of(found)
    machines = [item["DefinitionS3Location"] for item in of_type(template, "AWS::StepFunctions::StateMachine").values()]
    pipelines = [
        item["PipelineDefinition"]["PipelineDefinitionS3Location"]
        for item in of_type(template, "AWS::SageMaker::Pipeline").values()
    ]
    uris = [f"s3://{item['Bucket']}/{item['Key']}" for item in (*machines, *pipelines)]

    assert len(uris) >= 3
    for uri in uris:
        assert json.loads(found.uploads[uri])


def test_a_change_of_a_setting_changes_the_definition_s_name_so_that_the_stack_changes(
    engine: str, rendered: Rendering
) -> None:
    before = template_of(rendered(engine))
    after = template_of(rendered(engine, ("max_depth: 6", "max_depth: 5")))

    assert before["Resources"]["Deployment"] != after["Resources"]["Deployment"]
    name = "TrainingPipeline" if engine == "sagemaker-pipelines" else "TrainingMachine"
    name = "TrainingAlgorithmJob" if "on" in engine.split() else name  # on AWS Batch a job's description holds it
    assert before["Resources"][name] != after["Resources"][name]


LONGEST = {
    ("AWS::Batch::ComputeEnvironment", "ComputeEnvironmentName"): 128,
    ("AWS::Batch::JobDefinition", "JobDefinitionName"): 128,
    ("AWS::Batch::JobQueue", "JobQueueName"): 128,
    ("AWS::EC2::LaunchTemplate", "LaunchTemplateName"): 128,
    ("AWS::Events::Rule", "Name"): 64,
    ("AWS::IAM::Role", "RoleName"): 64,
    ("AWS::Pipes::Pipe", "Name"): 64,
    ("AWS::SQS::Queue", "QueueName"): 80,
    ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"): 63,
    ("AWS::SageMaker::Pipeline", "PipelineName"): 256,
    ("AWS::Scheduler::Schedule", "Name"): 64,
    ("AWS::StepFunctions::StateMachine", "StateMachineName"): 80,
}
"""Most characters of a name, from the services' API references."""


def test_the_longest_names_that_a_manifest_can_have_are_short_enough(engine: str, rendered: Rendering) -> None:
    name, environment = "n" * 24, "e" * 16
    long = (("name: flights\n", f"name: {name}\n"), ("environments: {prod:", f"environments: {{{environment}:"))
    template = template_of(rendered(engine, *long, environment=environment))
    found = {
        (kind, key, item[key]) for kind, key in LONGEST for item in of_type(template, kind).values() if key in item
    }

    assert {kind for kind, _, _ in found} >= {"AWS::IAM::Role", "AWS::Events::Rule", "AWS::Scheduler::Schedule"}
    assert [one for one in found if len(one[2]) > LONGEST[one[0], one[1]]] == []
    assert len(f"quartet-{name}-{environment}") == 49


# --- Least privilege


def test_the_jobs_role_is_taken_by_the_service_that_runs_the_jobs_alone(engine: str, rendered: Rendering) -> None:
    (statement,) = template_of(rendered(engine))["Resources"]["JobsRole"]["Properties"]["AssumeRolePolicyDocument"][
        "Statement"
    ]

    wanted = "ecs-tasks.amazonaws.com" if "on" in engine.split() else "sagemaker.amazonaws.com"
    assert statement["Principal"] == {"Service": [wanted]}


def test_no_role_may_do_everything(engine: str, rendered: Rendering) -> None:
    template = template_of(rendered(engine))

    for role in of_type(template, "AWS::IAM::Role"):
        for statement in statements(template, role):
            assert not [action for action in statement["Action"] if "*" in action], statement
            if statement["Resource"] == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCE, (role, statement)


def test_only_services_take_a_role_and_on_behalf_of_this_account(engine: str, rendered: Rendering) -> None:
    for name, role in of_type(template_of(rendered(engine)), "AWS::IAM::Role").items():
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            assert set(statement["Principal"]) == {"Service"}, name
            if statement["Principal"] != {"Service": ["ec2.amazonaws.com"]}:  # which gives no account to compare
                assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_the_jobs_write_below_the_storage_and_nowhere_else(engine: str, rendered: Rendering) -> None:
    found = list(statements(template_of(rendered(engine)), "JobsRole"))
    written = [
        resource
        for statement in found
        if any(action.startswith("s3:") and not READS.match(action) for action in statement["Action"])
        for resource in statement["Resource"]
        if "PutObject" in str(statement["Action"])
    ]

    assert written == [f"arn:aws:s3:::{STORAGE.removeprefix('s3://')}/*"]


def test_the_jobs_write_where_the_manifest_sends_the_scores(engine: str, rendered: Rendering) -> None:
    sent = ("release: {approve: automatic}", "release: {approve: automatic}\n  inference: {output: 's3://out/scores/'}")
    found = list(statements(template_of(rendered(engine, sent)), "JobsRole"))
    written = [item for statement in found if "s3:PutObject" in statement["Action"] for item in statement["Resource"]]

    assert "arn:aws:s3:::out/scores/*" in written


def test_the_jobs_read_the_manifest_s_data_also_where_it_lies_elsewhere(engine: str, rendered: Rendering) -> None:
    moved = ('uri: "{storage}/data/score/{period}.csv"', 'uri: "s3://raw-flights/new/{period}.csv"')
    found = list(statements(template_of(rendered(engine, moved)), "JobsRole"))
    read = [item for statement in found if "s3:GetObject" in statement["Action"] for item in statement["Resource"]]

    assert "arn:aws:s3:::raw-flights/new/*" in read
    assert "arn:aws:s3:::raw-flights/*" not in read


def test_the_jobs_may_not_move_the_pointer(engine: str, rendered: Rendering) -> None:
    actions = {
        action for statement in statements(template_of(rendered(engine)), "JobsRole") for action in statement["Action"]
    }

    assert not [action for action in actions if action.startswith(("ssm:", "iam:", "sagemaker:", "states:"))]


def test_only_what_trains_or_promotes_may_move_the_pointer(engine: str, rendered: Rendering) -> None:
    template = template_of(rendered(engine))
    movers = {
        role
        for role in of_type(template, "AWS::IAM::Role")
        for statement in statements(template, role)
        if "ssm:PutParameter" in statement["Action"] and "releases/current" in str(statement["Resource"])
    }

    assert movers == ({"PromoteRole"} if engine == "sagemaker-pipelines" else {"TrainingRole"})


def test_whoever_passes_a_role_passes_the_jobs_role_to_sagemaker_alone(engine: str, rendered: Rendering) -> None:
    template = template_of(rendered(engine))
    passed = [
        (statement["Resource"], statement["Condition"])
        for role in of_type(template, "AWS::IAM::Role")
        for statement in statements(template, role)
        if "iam:PassRole" in statement["Action"]
    ]

    jobs = ["arn:aws:iam::123456789012:role/quartet-jobs"]
    allowed = (jobs, {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})
    assert bool(passed) == ("on" not in engine.split())
    assert all(one == allowed for one in passed)


def test_the_jobs_role_has_the_name_that_the_definitions_carry(engine: str, rendered: Rendering) -> None:
    role = template_of(rendered(engine))["Resources"]["JobsRole"]

    assert (role["Properties"]["Path"], role["Properties"]["RoleName"]) == ("/", "quartet-jobs")
    assert role["Condition"] == "MakesJobsRole"


# --- The loop, schedules, alarms


def test_drift_of_this_use_case_and_environment_starts_retrain_and_tells_people(
    engine: str, rendered: Rendering
) -> None:
    template = template_of(rendered(engine, environment="prod"))
    rule = of_type(template, "AWS::Events::Rule")["DriftRule"]

    assert rule["EventPattern"] == {
        "source": ["quartet"],
        "detail-type": ["Drift"],
        "detail": {"useCase": ["flights"], "environment": ["prod"]},
    }
    assert {target["Id"]: target["Arn"] for target in rule["Targets"]} == {
        "retrain": {"Ref": "RetrainMachine"},
        "notify": TOPIC,
    }
    assert all("DeadLetterConfig" in target for target in rule["Targets"])


def test_a_dead_letter_queue_takes_letters_from_the_stack_s_rules_alone(engine: str, rendered: Rendering) -> None:
    template = template_of(rendered(engine))
    (statement,) = template["Resources"]["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    rules = [{"Fn::GetAtt": [name, "Arn"]} for name in of_type(template, "AWS::Events::Rule")]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert sorted(statement["Condition"]["ArnEquals"]["aws:SourceArn"], key=str) == sorted(rules, key=str)


def test_a_sagemaker_pipeline_s_question_becomes_the_event_with_its_token(rendered: Rendering) -> None:
    template = template_of(rendered("sagemaker-pipelines"))
    (pipe,) = of_type(template, "AWS::Pipes::Pipe").values()
    given = pipe["TargetParameters"]["InputTemplate"]
    inference = next(text for uri, text in rendered("sagemaker-pipelines").uploads.items() if "inference.json" in uri)
    callback = next(step for step in steps(json.loads(inference)) if step["Type"] == "Callback")

    detail = json.loads(re.sub(r"<\$\.body\.([A-Za-z.]+)>", r'"\1"', given))
    constant = {"useCase": "flights", "environment": ""}
    assert detail == {**{name: f"arguments.{name}" for name in callback["Arguments"]}, **constant, "token": "token"}
    assert {name: callback["Arguments"][name] for name in constant} == constant
    assert callback["SqsQueueUrl"].rpartition("/")[2] == template["Resources"]["DriftQueue"]["Properties"]["QueueName"]


def steps(node: Any) -> Iterator[dict[str, Any]]:
    """All steps of a pipeline's definition, those in branches too."""
    if isinstance(node, dict):
        if {"Name", "Type"} <= set(node):
            yield node
        for value in node.values():
            yield from steps(value)
    elif isinstance(node, list):
        for value in node:
            yield from steps(value)


def test_schedules_start_the_pipelines_in_the_manifest_s_time_zone(engine: str, rendered: Rendering) -> None:
    found = of_type(template_of(rendered(engine)), "AWS::Scheduler::Schedule")

    assert {item["ScheduleExpression"] for item in found.values()} == {"cron(0 4 1 * ? *)", "rate(30 days)"}
    assert {item["ScheduleExpressionTimezone"] for item in found.values()} == {"Europe/Zurich"}
    # A SageMaker pipeline cannot read Parameter Store: a machine finds the release in use for it.
    started = ("StartMachine", "TrainMachine")
    started = started if engine == "sagemaker-pipelines" else ("InferenceMachine", "TrainingMachine")
    assert [found[name]["Target"]["Arn"] for name in sorted(found)] == [{"Ref": name} for name in started]


def test_each_failure_rings_the_alarm_that_the_manifest_names(engine: str, rendered: Rendering) -> None:
    alarms = of_type(template_of(rendered(engine)), "AWS::CloudWatch::Alarm")

    wanted = {"TrainingFailedAlarm", "InferenceFailedAlarm", "RetrainFailedAlarm", "EventLostAlarm"}
    assert wanted <= set(alarms)
    assert all(alarm["AlarmActions"] == [TOPIC] for alarm in alarms.values())


def test_logs_are_kept_for_as_long_as_the_stack_says(engine: str, rendered: Rendering) -> None:
    groups = of_type(template_of(rendered(engine)), "AWS::Logs::LogGroup")

    assert groups
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())


def test_the_pointer_to_the_release_in_use_is_no_resource(engine: str, rendered: Rendering) -> None:
    parameters = of_type(template_of(rendered(engine)), "AWS::SSM::Parameter")

    assert [item["Name"] for item in parameters.values()] == ["/flights/deployment"]


# --- What AWS calls things


def test_a_schedule_hands_on_the_time_that_it_was_due(engine: str, rendered: Rendering) -> None:
    """AWS: "Adding context attributes", EventBridge Scheduler User Guide."""
    found = of_type(template_of(rendered(engine)), "AWS::Scheduler::Schedule")["InferenceSchedule"]["Target"]["Input"]

    assert json.loads(found)["Time"] == "<aws.scheduler.scheduled-time>"


def test_approval_is_the_event_of_the_model_registry(rendered: Rendering) -> None:
    """AWS: "SageMaker model package state change" in the SageMaker Developer Guide."""
    rule = of_type(template_of(rendered("sagemaker-pipelines")), "AWS::Events::Rule")["ApprovalRule"]

    assert rule["EventPattern"]["detail-type"] == ["SageMaker Model Package State Change"]
    assert rule["EventPattern"]["detail"]["ModelApprovalStatus"] == ["Approved"]


def test_a_pipeline_may_ask_the_loop_by_its_queue(rendered: Rendering) -> None:
    template = template_of(rendered("sagemaker-pipelines"))
    allowed = [item for item in statements(template, "PipelineRole") if item["Action"] == ["sqs:SendMessage"]]
    queue = template["Resources"]["DriftQueue"]["Properties"]["QueueName"]

    assert [item["Resource"] for item in allowed] == [[f"arn:aws:sqs:eu-west-1:123456789012:{queue}"]]


def test_models_outlive_the_stack_and_a_later_one_takes_them_over(rendered: Rendering) -> None:
    template = template_of(rendered("sagemaker-pipelines"))
    group = template["Resources"]["Models"]

    assert (group["DeletionPolicy"], group["Condition"]) == ("Retain", "MakesModelGroup")
    assert template["Parameters"]["MakeModelGroup"]["Default"] == "true"


def test_failed_pipelines_are_counted_where_sagemaker_counts_them(rendered: Rendering) -> None:
    """AWS: "Monitor SageMaker AI pipelines with CloudWatch": namespace AWS/Sagemaker/ModelBuildingPipeline."""
    alarm = of_type(template_of(rendered("sagemaker-pipelines")), "AWS::CloudWatch::Alarm")["TrainingFailedAlarm"]

    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Sagemaker/ModelBuildingPipeline", "ExecutionFailed")


# --- AWS Batch


QUIET = ("schedule: {inference: cron(0 4 1 * ? *), training: rate(30 days), timezone: Europe/Zurich}", "")
PLACED = ("engine: batch", f"engine: batch\n{NETWORK}}}")


@pytest.fixture
def on_batch(rendered: Rendering) -> dict[str, Any]:
    """The template of the engine that has only jobs."""
    return template_of(rendered("batch", PLACED, QUIET))


def test_cfn_lint_finds_nothing_in_a_stack_of_jobs_alone(on_batch: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "template.json").write_text(json.dumps(on_batch))
    done = linted(tmp_path / "template.json")

    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_scored_waits_before_what_is_learnt(on_batch: dict[str, Any]) -> None:
    queues = {item["JobQueueName"]: item["Priority"] for item in of_type(on_batch, "AWS::Batch::JobQueue").values()}

    assert queues["quartet-flights-inference"] > queues["quartet-flights-training"]


def test_job_definitions_are_what_the_client_would_register(on_batch: dict[str, Any], use_case: Any) -> None:
    rendered = batch.render(use_case("batch", PLACED, QUIET), specs(), {})
    registered = [
        item for name in ("training", "inference") for item in json.loads(rendered.files[f"{name}.json"])["definitions"]
    ]
    made = {item["JobDefinitionName"]: item for item in of_type(on_batch, "AWS::Batch::JobDefinition").values()}

    assert sorted(made) == sorted(item["jobDefinitionName"] for item in registered)
    for item in registered:
        found = made[item["jobDefinitionName"]]
        assert found["ContainerProperties"]["Image"] == item["containerProperties"]["image"]
        assert found["ContainerProperties"]["Command"] == item["containerProperties"]["command"]
        assert found["RetryStrategy"]["EvaluateOnExit"][0] == {"Action": "EXIT", "OnExitCode": "2"}
        assert found["Tags"] == item["tags"]


def machines_of(rendered: Rendered) -> dict[str, tuple[Any, Any]]:
    """A state machine's properties, and its definition with the stack's names filled in as CloudFormation does it."""
    found = {}
    for name, properties in of_type(template_of(rendered), "AWS::StepFunctions::StateMachine").items():
        place = properties["DefinitionS3Location"]
        text = rendered.uploads[f"s3://{place['Bucket']}/{place['Key']}"].decode()
        for hole, value in properties.get("DefinitionSubstitutions", {}).items():
            assert f"${{{hole}}}" in text, "CloudFormation refuses what no definition holds"
            text = text.replace(f"${{{hole}}}", value["Ref"])
        found[name] = (properties, json.loads(text))
    return found


def submitted(node: Any) -> Iterator[str]:
    """The definitions of the jobs that a machine submits."""
    if isinstance(node, dict):
        if "JobDefinition" in node:
            yield node["JobDefinition"]
        for value in node.values():
            yield from submitted(value)
    elif isinstance(node, list):
        for value in node:
            yield from submitted(value)


def test_a_run_submits_the_revisions_that_the_stack_made_with_its_machine(rendered: Rendering) -> None:
    """`Ref` of a job definition is its ARN with the revision: a deployment in between is for the next run."""
    found = rendered("step-functions on Batch")
    made = of_type(template_of(found), "AWS::Batch::JobDefinition")
    machines = machines_of(found)
    used = {name for _, definition in machines.values() for name in submitted(definition)}

    assert used == set(made)
    assert "${" not in json.dumps([definition for _, definition in machines.values()])


def test_the_disk_of_a_machine_has_room_for_the_largest_job_and_is_encrypted(rendered: Rendering) -> None:
    """The system's 30 GB, as Amazon's image has them, and 200 of the training."""
    large = (LAST, f"{LAST}    train: {{volume_gb: 200}}\n")
    template = template_of(rendered("step-functions on Batch", large))
    launch = of_type(template, "AWS::EC2::LaunchTemplate")
    environments = of_type(template, "AWS::Batch::ComputeEnvironment")

    assert len(launch) == len(environments) == 1
    for name, item in launch.items():
        (disk,) = item["LaunchTemplateData"]["BlockDeviceMappings"]
        assert (disk["DeviceName"], disk["Ebs"]["VolumeSize"], disk["Ebs"]["Encrypted"]) == ("/dev/xvda", 230, True)
        used = [item["ComputeResources"]["LaunchTemplate"] for item in environments.values()]
        assert used == [{"LaunchTemplateId": {"Ref": name}, "Version": {"Fn::GetAtt": [name, "LatestVersionNumber"]}}]


def test_jobs_and_queues_of_aws_batch_say_whose_they_are(rendered: Rendering) -> None:
    template = template_of(rendered("step-functions on Batch", environment="prod"))
    ours = {"quartet:use-case": "flights", "quartet:environment": "prod"}
    environments = of_type(template, "AWS::Batch::ComputeEnvironment").values()
    tagged = [
        *(item["ComputeResources"] for item in environments),
        *of_type(template, "AWS::Batch::JobQueue").values(),
        *of_type(template, "AWS::Batch::JobDefinition").values(),
    ]

    assert len(tagged) > 8
    for item in tagged:
        assert item["Tags"].items() >= ours.items()


KEYS = [f"arn:aws:kms:eu-west-1:123456789012:key/{number * 8}" for number in "12"]


@pytest.mark.parametrize("keyed", ["every job", "one job"])
def test_the_disk_of_a_machine_is_encrypted_with_the_key_that_the_manifest_names(
    rendered: Rendering, keyed: str
) -> None:
    every = ("data:\n", f"defaults: {{kms_key: '{KEYS[0]}'}}\ndata:\n")
    one = (LAST, f"{LAST}    train: {{kms_key: '{KEYS[0]}'}}\n")
    template = template_of(rendered("step-functions on Batch", every if keyed == "every job" else one))
    (launch,) = of_type(template, "AWS::EC2::LaunchTemplate").values()
    (disk,) = launch["LaunchTemplateData"]["BlockDeviceMappings"]

    assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["KmsKeyId"]) == (True, KEYS[0])


def test_without_a_key_the_disk_of_a_machine_is_encrypted_with_the_accounts_own(rendered: Rendering) -> None:
    (launch,) = of_type(template_of(rendered("step-functions on Batch")), "AWS::EC2::LaunchTemplate").values()

    assert "KmsKeyId" not in launch["LaunchTemplateData"]["BlockDeviceMappings"][0]["Ebs"]


def test_two_keys_for_one_disk_are_refused(rendered: Rendering) -> None:
    one = (LAST, f"{LAST}    train: {{kms_key: '{KEYS[0]}'}}\n    serve: {{kms_key: '{KEYS[1]}'}}\n")

    with pytest.raises(SettingsError, match=r"kms_key of jobs that share .* wanted one key\. Name it in defaults"):
        rendered("step-functions on Batch", one)


def test_fargate_has_no_machines_of_its_own(rendered: Rendering) -> None:
    template = template_of(rendered("step-functions on Fargate"))

    assert of_type(template, "AWS::EC2::LaunchTemplate") == {}
    assert "InstanceRole" not in template["Resources"]


def test_machines_with_gpus_are_of_the_family_that_the_manifest_names(rendered: Rendering) -> None:
    gpu = (LAST, f"{LAST}    train: {{instance: ml.g5.xlarge, volume_gb: 100}}\n")
    template = template_of(rendered("step-functions on Fargate", gpu))
    machines = of_type(template, "AWS::Batch::ComputeEnvironment")["GpuMachines"]["ComputeResources"]
    (launch,) = of_type(template, "AWS::EC2::LaunchTemplate").values()

    assert machines["InstanceTypes"] == ["g5"]
    assert launch["LaunchTemplateData"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 130


def test_jobs_log_where_the_stack_keeps_logs_for_as_long_as_it_says(on_batch: dict[str, Any]) -> None:
    groups = {group["LogGroupName"] for group in of_type(on_batch, "AWS::Logs::LogGroup").values()}

    for item in of_type(on_batch, "AWS::Batch::JobDefinition").values():
        assert item["ContainerProperties"]["LogConfiguration"]["Options"]["awslogs-group"] in groups


def test_a_manifest_without_a_network_is_told_what_to_name(rendered: Rendering) -> None:
    with pytest.raises(SettingsError, match=r"no 'batch.subnets', 'batch.security_groups', where AWS Batch starts"):
        rendered("batch", QUIET)


def test_a_schedule_that_nothing_would_start_by_is_refused(rendered: Rendering) -> None:
    with pytest.raises(SettingsError, match="nothing that starts by it"):
        rendered("batch", PLACED)


# --- What cannot be rendered


def test_an_image_by_tag_is_refused(engine: str, use_case: Callable[..., UseCase]) -> None:
    changed = use_case(
        engine, (", digest: 'sha256:" + "2" * 64 + "'", ""), ("quartet/algorithm}", "quartet/algorithm:1}")
    )

    with pytest.raises(SettingsError, match="by digest"):
        render(changed, specs(), {})


def test_an_engine_without_a_stack_is_named(use_case: Callable[..., UseCase]) -> None:
    with pytest.raises(SettingsError, match="engine is 'local', and stacks are made around"):
        render(use_case("local"), specs(), {})
