"""Send one alert to one e-mail address."""

import smtplib
import ssl
from email.utils import parseaddr

from django.conf import settings
from django.core.mail import EmailMessage

from api.alerts.alert_texts import describe_alert
from api.alerts.webhook import SendResult
from api.models import AlertEvent

SUBJECT_CHARS = 120


def build_message(event: AlertEvent, message_id: str, address: str) -> EmailMessage:
    """Return the e-mail about an alert; its `Message-ID` is the same in each attempt."""
    text = describe_alert(event)
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return EmailMessage(
        subject=f"[proxysite] {' '.join(text.split())[:SUBJECT_CHARS]}",
        body=f"{text}\n\nAlert {event} of {event.created_at:%Y-%m-%d %H:%M:%S %Z}.\n",
        to=[address],
        headers={"Message-ID": f"<{message_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )


def send_mail(event: AlertEvent, message_id: str, address: str) -> SendResult:
    """Send one attempt and return how it ended; an answer of the mail server is not kept."""
    try:
        build_message(event, message_id, address).send()
    except smtplib.SMTPRecipientsRefused as error:
        status = max((code for code, _ in error.recipients.values()), default=0)
        return make_refusal(status)
    except smtplib.SMTPResponseException as error:
        return make_refusal(error.smtp_code)
    except ssl.SSLError:
        return SendResult("The mail server's certificate cannot be trusted.")
    except (OSError, smtplib.SMTPException) as error:
        return SendResult(f"The mail server cannot be reached: {type(error).__name__}.")
    return SendResult()


def make_refusal(status: int) -> SendResult:
    """Return the end of an attempt that the mail server refused."""
    return SendResult(f"The mail server answered with the status {status}.")
